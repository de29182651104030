import { memoryStore } from '../../hub/memory-store.ts'
import { type Channel, GatewayProcess, type GatewayProcessOptions } from './gateway-child.ts'
import { serveStore } from './store-link.ts'

export type GatewaysOptions = Omit<GatewayProcessOptions, 'opensFeed' | 'serve'>

/**
 * Two gateway processes that share a store, which is in this process as Redis would be on a machine of its own. The first one
 * opens the shared stream and asks the model; the page reads from the second one, so that the end of the first leaves the page its
 * connections.
 */
export class Gateways {
  readonly #store = memoryStore()
  readonly #asking: GatewayProcess
  readonly reading: GatewayProcess

  constructor(options: GatewaysOptions) {
    const serve = ({ store }: Channel) => serveStore(this.#store, store)
    this.#asking = new GatewayProcess('Gateway 1', { ...options, serve, opensFeed: true })
    this.reading = new GatewayProcess('Gateway 2', { ...options, serve, opensFeed: false })
  }

  get all(): readonly GatewayProcess[] {
    return [this.#asking, this.reading]
  }

  /** @throws When a process ends before it serves. */
  async start(feedUrl: string): Promise<void> {
    for (const gateway of this.all) await gateway.start(feedUrl)
  }

  /**
   * Has a process ask the model for an answer, and read the answer to its end.
   *
   * @returns The name of the process.
   */
  async ask(session: string, url: string): Promise<string> {
    await this.#asking.ask(session, url)
    return this.#asking.name
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((gateway) => gateway.close()))
  }
}
