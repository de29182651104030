import { wireOf } from './numbered-event.ts'

const interval = 10

/** Publishes events 1..N at a steady pace into a history that keeps them all. */
export class Publisher {
  /** Event n, as it stands on the wire, at index n - 1. */
  readonly history: Buffer[] = []
  readonly #events: number
  readonly #eventsPerSecond: number
  #timer: NodeJS.Timeout | undefined

  constructor(events: number, eventsPerSecond: number) {
    this.#events = events
    this.#eventsPerSecond = eventsPerSecond
  }

  /** @param onPublish - Called after each addition to the history. */
  start(onPublish: () => void): void {
    const start = performance.now()
    this.#timer = setInterval(() => {
      // By the clock and not by the tick: a busy machine's timers are late.
      const due = Math.floor(((performance.now() - start) / 1000) * this.#eventsPerSecond)
      while (this.history.length < Math.min(due, this.#events)) {
        this.history.push(wireOf(this.history.length + 1))
      }
      if (this.history.length === this.#events) this.stop()
      onPublish()
    }, interval)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
