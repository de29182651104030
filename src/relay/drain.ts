import { checkOptions, milliseconds, type OptionsOf, withDefault } from '../options.ts'

const startOptions = {
  /** Over how many milliseconds clients come back, in addition to one second. Default 4000. */
  spread: withDefault(milliseconds(), 4000),
}

/** Options of {@link Drain.start}. */
export interface DrainOptions extends OptionsOf<typeof startOptions> {}

/** A relay, as a drain knows it. */
export interface Drainable {
  /**
   * Ends the response where its client can come back, after telling it to do so.
   *
   * @param retry - The reconnection time for this client, in milliseconds.
   */
  dismiss(retry: number): void
}

/** Lets the clients of a server's relays go before the server stops. */
export class Drain {
  readonly #relays = new Set<Drainable>()
  #spread: number | undefined
  #onEmpty: () => void = () => {}

  /** How many relays are under way. */
  get size(): number {
    return this.#relays.size
  }

  /** Whether the drain has started. */
  get isStarted(): boolean {
    return this.#spread !== undefined
  }

  /**
   * Tells each client that can come back to do so, after a second and a random part of `spread`, and ends its response; also
   * those of relays that start later. Streams that must not be asked for again go on to their own end.
   *
   * @returns Resolves when no relay is under way.
   * @throws `TypeError` or `RangeError` that names a wrong option.
   */
  start(options: DrainOptions = {}): Promise<void> {
    const { spread } = checkOptions(startOptions, options)
    this.#spread = spread
    for (const relay of this.#relays) this.#dismiss(relay, spread)
    return new Promise((resolve) => {
      if (this.#relays.size === 0) {
        resolve()
        return
      }
      const before = this.#onEmpty
      this.#onEmpty = () => {
        before()
        resolve()
      }
    })
  }

  /** @internal */
  add(relay: Drainable): void {
    this.#relays.add(relay)
  }

  /**
   * The relay's head is out.
   *
   * @internal
   */
  opened(relay: Drainable): void {
    if (this.#spread !== undefined && this.#relays.has(relay)) this.#dismiss(relay, this.#spread)
  }

  /** @internal */
  delete(relay: Drainable): void {
    this.#relays.delete(relay)
    if (this.#relays.size === 0) this.#onEmpty()
  }

  #dismiss(relay: Drainable, spread: number): void {
    relay.dismiss(1000 + Math.floor(Math.random() * spread))
  }
}

/**
 * Makes a drain for the option `drain` of a server's relays. When the server is to stop, at SIGTERM say, `start()` tells
 * the clients to come back to whichever server is there then, spread over some seconds, and ends their responses.
 */
export function createDrain(): Drain {
  return new Drain()
}
