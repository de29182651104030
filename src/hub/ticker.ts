/** The most and the least time between two ticks, in milliseconds. */
const longestInterval = 1000
const shortestInterval = 5

/** One timer for the heartbeats and the time limits of all streams and clients of a hub. */
export class Ticker {
  readonly #onTick: (now: number) => void
  #interval = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  /** @param onTick - Called with the time on the clock of `performance.now()`. */
  constructor(onTick: (now: number) => void) {
    this.#onTick = onTick
  }

  /** Starts the timer. A limit is noticed at most a quarter of its time late. */
  start(limit: number): void {
    const interval = Math.max(shortestInterval, Math.min(longestInterval, limit / 4))
    if (interval >= this.#interval) return
    clearInterval(this.#timer)
    this.#interval = interval
    // The clients' connections keep the process alive, not their heartbeats.
    this.#timer = setInterval(() => this.#onTick(performance.now()), interval).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#interval = Number.POSITIVE_INFINITY
  }
}
