export interface PublisherOptions {
  readonly eventsPerSecond: number
  /** How many events are published from the start. Default 0. */
  readonly backlog?: number
  /** The last event that there is. Default: none. */
  readonly last?: number
  /** The time in milliseconds. Default `performance.now()`. */
  readonly now?: () => number
}

/** Publishes numbered events at a steady pace: by the clock and not by a timer, which is late on a busy machine. */
export class Publisher {
  readonly #options: PublisherOptions
  readonly #now: () => number
  readonly #start: number

  /** Publishing starts with it. */
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
