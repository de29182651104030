import { Deadline } from '../http/deadline.ts'

/** The most and the least time between two ticks of a stream, in milliseconds. */
const longestInterval = 1000
const shortestInterval = 5

/**
 * How many streams tick at once. Each of them may call the store, and events wait meanwhile: the ticks of 5,000 streams at once would
 * take 100 ms.
 */
const mostAtOnce = 32

/** The part of an interval in which all streams tick, so that a round is over before the next one. */
const spread = 0.8

/** A stream, as far as the ticker calls it. */
interface Ticked {
  /** @param now - On the clock of `performance.now()`. */
  tick(now: number): void
}

/** What is left of a round. */
interface Round {
  /**
   * The number of streams that are still to tick. Streams that are added meanwhile tick in the next round: a round would otherwise not end
   * while many are added, and the leases of the first ones would.
   */
  readonly left: number
  /** Until the next streams, in milliseconds. */
  readonly pause: number
  /** When the next round starts, on the clock of `performance.now()`. */
  readonly due: number
}

const over = { done: true, value: undefined } as const

function call(onTime: () => void): void {
  onTime()
}

/** One deadline after another for the heartbeats and the time limits of all streams and clients of a hub. */
export class Ticker {
  readonly #streams: ReadonlyMap<string, Ticked>
  #interval = Number.POSITIVE_INFINITY
  #deadline: Deadline<() => void> | undefined
  /** How often the deadline was started and stopped: a tick may do either. */
  #changes = 0

  constructor(streams: ReadonlyMap<string, Ticked>) {
    this.#streams = streams
  }

  /** Starts the rounds. A limit is noticed at most a quarter of its time late. */
  start(limit: number): void {
    const interval = Math.max(shortestInterval, Math.min(longestInterval, limit / 4))
    if (interval >= this.#interval) return
    this.#interval = interval
    this.#changes++
    this.#wait(interval, () => this.#startRound())
  }

  stop(): void {
    this.#deadline?.clear()
    this.#interval = Number.POSITIVE_INFINITY
    this.#changes++
  }

  #startRound(): void {
    const due = performance.now() + this.#interval
    const { size } = this.#streams
    const groups = Math.max(1, Math.ceil(size / mostAtOnce))
    this.#tick(this.#streams.values(), { left: size, pause: (this.#interval * spread) / groups, due })
  }

  /** Ticks some streams, and the others of the round later. */
  #tick(streams: Iterator<Ticked>, { left, pause, due }: Round): void {
    const now = performance.now()
    const changes = this.#changes
    for (let n = 0; n < mostAtOnce; n++) {
      const { value, done } = n < left ? streams.next() : over
      if (done) {
        this.#wait(due - now, () => this.#startRound())
        return
      }
      value.tick(now)
      // It has stopped the rounds, or started one of shorter rounds, in which the other streams tick.
      if (this.#changes !== changes) return
    }
    this.#wait(pause, () => this.#tick(streams, { left: left - mostAtOnce, pause, due }))
  }

  #wait(time: number, onTime: () => void): void {
    this.#deadline?.clear()
    // The clients' connections keep the process alive, not their heartbeats. A deadline of 0 would never fire.
    this.#deadline = new Deadline(Math.max(1, time), call, onTime, false)
  }
}
