import { checkOptions, milliseconds, type OptionsOf, withDefault } from '../options.ts'

const startOptions = {
  /** Clients reconnect after one second plus a random part of this time, in milliseconds. Default 4000. */
  spread: withDefault(milliseconds(), 4000),
}

/**
 * Options of {@link Drain.start}.
 *
 * @example
 * ```ts
 * import { createDrain, type DrainOptions } from 'resilient-sse'
 *
 * const options: DrainOptions = { spread: 10_000 }
 * await createDrain().start(options)
 * ```
 */
export interface DrainOptions extends OptionsOf<typeof startOptions> {}

/** A relay that a drain can end. */
export interface Drainable {
  /**
   * Sends a reconnection time and ends the response, if the client can reconnect and resume.
   *
   * @param retry - The reconnection time for this client, in milliseconds.
   * @returns Whether the response was ended.
   */
  dismiss(retry: number): boolean
}

/**
 * Ends the relays of a server before the server stops.
 *
 * @example
 * ```ts
 * import type { Drain } from 'resilient-sse'
 *
 * const line = (drain: Drain) => `${drain.dismissed} clients were told to reconnect, ${drain.size} are left`
 * ```
 */
export class Drain {
  readonly #relays = new Set<Drainable>()
  #dismissed = 0
  #spread: number | undefined
  #onEmpty: () => void = () => {}

  /** The number of running relays. */
  get size(): number {
    return this.#relays.size
  }

  /** The number of clients that were told to reconnect. */
  get dismissed(): number {
    return this.#dismissed
  }

  /** Whether the drain has started. */
  get isStarted(): boolean {
    return this.#spread !== undefined
  }

  /**
   * Sends each client that can reconnect a `retry:` of one second plus a random part of `spread`, and ends its response.
   * Relays that start later are ended too. Streams that cannot be resumed by a new request run to their own end.
   *
   * @returns Resolves when no relay is running.
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
   * Called when the relay's head was sent.
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
    if (relay.dismiss(1000 + Math.floor(Math.random() * spread))) this.#dismissed++
  }
}

/**
 * Makes a drain for the option `drain` of a server's relays. Before the server stops, for example at SIGTERM, `start()` tells
 * the clients to reconnect, spread over some seconds, and ends their responses.
 *
 * @example
 * ```ts
 * import http from 'node:http'
 * import { createDrain, httpUpstream, relaySse } from 'resilient-sse'
 *
 * const drain = createDrain()
 * const upstream = httpUpstream('http://localhost:3000/events')
 * const server = http.createServer((req, res) => {
 *   relaySse(req, res, upstream, { drain }).catch((error) => res.destroy(error))
 * })
 * process.once('SIGTERM', async () => {
 *   await drain.start({ spread: 5000 })
 *   server.close()
 * })
 * ```
 */
export function createDrain(): Drain {
  return new Drain()
}
