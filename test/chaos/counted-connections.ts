import http from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { httpUpstream, type Upstream, type UpstreamContext, type UpstreamFactory } from '../../src/index.ts'
import type { SharedPlan } from './shared-plan.ts'

/** The connections of all hubs of a run to the upstream. */
export class CountedConnections {
  readonly factory: UpstreamFactory
  /** Attempts, and connections that are open on this side. */
  open = 0
  /** The most that were open at the same time. */
  most = 0
  readonly #stored: { readonly stored: number }
  #attempts = 0

  /** @param stored - Tells the number of stored events. */
  constructor({ method }: SharedPlan, stored: { readonly stored: number }, url: string, agent: http.Agent) {
    this.#stored = stored
    const body = method === 'POST' ? { body: '{}' } : {}
    const open = (context: UpstreamContext) =>
      this.#open(() => httpUpstream(url, { agent, method, headers: this.#headers, ...body })(context))
    this.factory = Object.assign(open, { method })
  }

  /** Events that were sent but not stored may be unknown to the next run: the upstream must not count on them. */
  get #headers() {
    return { 'x-stream': this.#stored.stored > 0 ? 'stored' : `attempt ${this.#attempts}` }
  }

  async #open(dial: () => Upstream | Promise<Upstream>): Promise<Upstream> {
    this.#attempts++
    this.open++
    void this.#count()
    try {
      const upstream = await dial()
      if (!(upstream instanceof http.IncomingMessage)) throw new TypeError('not a response of node:http')
      upstream.once('close', () => this.open--)
      return upstream
    } catch (error) {
      this.open--
      throw error
    }
  }

  async #count(): Promise<void> {
    // A connection that was closed says so a turn or two later.
    for (let turn = 0; turn < 10 && this.open > 1; turn++) await nextTurn()
    this.most = Math.max(this.most, this.open)
  }
}
