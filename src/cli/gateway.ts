import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { Logger } from '../diagnostics.ts'
import { asError } from '../errors.ts'
import { redactUrl } from '../http/url.ts'
import { refuse } from '../proxy/downstream.ts'
import { createSseProxy, refuseUpgrade } from '../proxy/proxy.ts'
import { createDrain } from '../relay/drain.ts'
import { type Route, routeFor } from './config.ts'

/** The interval at which a drain closes idle connections, in milliseconds. */
const drainInterval = 50

/** Passes requests on, each by its route, and knows those that are under way. */
export class Gateway {
  readonly server = http.createServer((req, res) => this.#answer(req, res))
  draining = false
  readonly #routes: readonly (Route & { readonly pass: ReturnType<typeof createSseProxy> })[]
  readonly #log: Logger
  readonly #answers = new Set<ServerResponse>()
  readonly #drain = createDrain()
  /** What a stream's own line has told of. */
  readonly #logged = new WeakSet<Error>()

  /** @throws {@link ConfigError} */
  constructor(routes: readonly Route[], log: Logger) {
    this.#log = log
    this.#routes = routes.map((route) => ({ ...route, pass: this.#proxyOf(route) }))
    // Balancers keep connections for a minute: it is for them to close first, or they lose requests.
    this.server.keepAliveTimeout = 75_000
    // An upload takes as long as it takes. The time for a request's head is limited all the same.
    this.server.requestTimeout = 0
    // Without a listener node sends a 100 by itself: it is the upstream's to send.
    this.server.on('checkContinue', (req, res) => this.#answer(req, res))
    // Upgrades come as requests, and are refused by the proxy.
    this.server.on('connect', refuseUpgrade)
  }

  /** Ends what is under way: streams at once, with word to come back, the rest in its own time until the limit. */
  async drain(limit: number): Promise<void> {
    const closed = once(this.server, 'close')
    this.draining = true
    this.server.close()
    this.#closeAfterAnswers()
    this.#drain.start()
    const streams = this.#drain.dismissed
    this.#log.info({ streams, requests: this.#answers.size - streams, limit }, 'draining')
    const timer = setInterval(() => {
      this.#closeAfterAnswers()
      this.server.closeIdleConnections()
    }, drainInterval)
    const deadline = setTimeout(() => {
      this.#log.warn({ requests: this.#answers.size }, 'drain limit reached')
      this.server.closeAllConnections()
    }, limit)
    await closed
    clearInterval(timer)
    clearTimeout(deadline)
  }

  #proxyOf({ path: _, ...options }: Route) {
    const log = this.#log
    const error = (fields: object, message: string) => {
      if ('err' in fields && fields.err instanceof Error) this.#logged.add(fields.err)
      log.error(fields, message)
    }
    const onError: Route['onError'] = (err, { method, url = '' }) => {
      if (!this.#logged.has(err)) log.warn({ method, path: redactUrl(url), err }, 'request failed')
    }
    const relay = { ...options.relay, drain: this.#drain }
    return createSseProxy({ ...options, relay, logger: { ...log, error }, onError })
  }

  #answer(req: IncomingMessage, res: ServerResponse): void {
    const route = routeFor(this.#routes, pathOf(req))
    if (route === undefined) {
      refuse(req, res, 404)
      return
    }
    this.#answers.add(res)
    res.once('close', () => this.#answers.delete(res))
    if (this.draining) res.shouldKeepAlive = false
    try {
      route.pass(req, res)
    } catch (fault) {
      this.#log.error({ method: req.method, path: redactUrl(req.url ?? ''), err: asError(fault) }, 'fault')
      if (res.headersSent) res.destroy()
      else refuse(req, res, 500)
    }
  }

  /** A client whose answer has no head yet is told not to send another request on its connection. */
  #closeAfterAnswers(): void {
    for (const res of this.#answers) if (!res.headersSent) res.shouldKeepAlive = false
  }
}

/** What a route is chosen by: no more than that, the proxy has its own look at the request target. */
export function pathOf({ url = '' }: IncomingMessage): string {
  return url.replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)[0] || '/'
}
