export interface PublisherOptions {
  readonly eventsPerSecond: number
  /** The number of events that are published at the start. Default 0. */
  readonly backlog?: number
  /** The number of the last event. Default: the stream is endless. */
  readonly last?: number
  /** Returns the time in milliseconds. Default `performance.now()`. */
  readonly now?: () => number
}

/** Publishes numbered events at a steady rate, by the clock: timers are late on a busy machine. */
export class Publisher {
  readonly #options: PublisherOptions
  readonly #now: () => number
  readonly #start: number

  /** Starts publishing. */
  constructor(options: PublisherOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.#start = this.#now()
  }

  /** The number of the latest event. */
  get latest(): number {
    const { eventsPerSecond, backlog = 0, last = Number.POSITIVE_INFINITY } = this.#options
    return Math.min(last, backlog + Math.floor(((this.#now() - this.#start) / 1000) * eventsPerSecond))
  }
}
