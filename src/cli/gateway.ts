import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../diagnostics.ts'
import { asError } from '../errors.ts'
import { redactUrl } from '../http/url.ts'
import { createSseHub, type SseHub } from '../hub/hub.ts'
import type { StreamStore } from '../hub/store.ts'
import { refuse } from '../proxy/downstream.ts'
import { createSseProxy, refuseUpgrade } from '../proxy/proxy.ts'
import { createDrain } from '../relay/drain.ts'
import { type Route, routeFor } from './config.ts'

/** The interval at which a drain closes idle connections, in milliseconds. */
const drainInterval = 50

/** How long a stop waits for a store after all responses have ended, in milliseconds. A store that is away is not waited for. */
const storeLimit = 1000

/** Passes each request on by its route, and keeps track of the open responses. */
export class Gateway {
  readonly server = http.createServer((req, res) => this.#answer(req, res))
  draining = false
  readonly #routes: readonly (Route & { readonly proxy: ReturnType<typeof createSseProxy> })[]
  readonly #log: Logger
  /** Has the shared streams of all paths; undefined when no path shares. */
  readonly #hub: SseHub | undefined
  readonly #openResponses = new Set<ServerResponse>()
  readonly #drain = createDrain()
  /** Errors that the log line of their stream has reported. */
  readonly #logged = new WeakSet<Error>()

  /** Whether other processes can take the shared streams over. */
  readonly #isFleet: boolean

  /**
   * @param store - Where other processes find the shared streams. By default they are in the memory of this process.
   * @throws {@link ConfigError}
   */
  constructor(routes: readonly Route[], log: Logger, store?: StreamStore) {
    this.#log = log
    this.#isFleet = store !== undefined
    if (routes.some(({ share }) => share)) this.#hub = createSseHub({ logger: log, store })
    this.#routes = routes.map((route) => ({ ...route, proxy: this.#createProxy(route) }))
    // Longer than the minute for which load balancers keep a connection: if the server closed first, a request could be lost.
    this.server.keepAliveTimeout = 75_000
    // No limit for uploads. The time for a request's head stays limited.
    this.server.requestTimeout = 0
    // Without a listener Node sends the 100, which the upstream must decide about.
    this.server.on('checkContinue', (req, res) => this.#answer(req, res))
    // Without a listener for `upgrade`, upgrades arrive as requests, and the proxy refuses them.
    this.server.on('connect', refuseUpgrade)
  }

  /**
   * Ends the event streams of clients that can reconnect, after a reconnection time, and waits until all other responses are
   * complete.
   *
   * @param limit - Milliseconds after which the remaining connections are closed.
   */
  async drain(limit: number): Promise<void> {
    const closed = once(this.server, 'close')
    this.draining = true
    this.server.close()
    this.#closeAfterAnswers()
    this.#drain.start()
    const streams = this.#drain.dismissed
    this.#log.info({ streams, requests: this.#openResponses.size - streams, limit }, 'draining')
    // At once, so that other processes take the streams over. Nobody could read on from a hub's memory: it is closed at the end.
    const handedOver = this.#isFleet ? this.#hub?.close({ drain: limit }) : undefined
    const timer = setInterval(() => {
      this.#closeAfterAnswers()
      this.server.closeIdleConnections()
    }, drainInterval)
    const deadline = setTimeout(() => {
      this.#log.warn({ requests: this.#openResponses.size }, 'drain limit reached')
      this.server.closeAllConnections()
    }, limit)
    await closed
    clearInterval(timer)
    clearTimeout(deadline)
    await Promise.race([handedOver ?? this.#hub?.close(), delay(storeLimit)])
  }

  #createProxy({ path: _, share, shared, ...options }: Route) {
    const log = this.#log
    const error = (fields: object, message: string) => {
      if ('err' in fields && fields.err instanceof Error) this.#logged.add(fields.err)
      log.error(fields, message)
    }
    const onError: Route['onError'] = (err, { method, url = '' }) => {
      if (!this.#logged.has(err)) log.warn({ method, path: redactUrl(url), err }, 'request failed')
    }
    const relay = { ...options.relay, drain: this.#drain }
    const sharing = share && this.#hub ? { hub: this.#hub, shared } : {}
    return createSseProxy({ ...options, ...sharing, relay, logger: { ...log, error }, onError })
  }

  #answer(req: IncomingMessage, res: ServerResponse): void {
    const route = routeFor(this.#routes, pathOf(req))
    if (route === undefined) {
      refuse(req, res, 404)
      return
    }
    this.#openResponses.add(res)
    res.once('close', () => this.#openResponses.delete(res))
    if (this.draining) res.shouldKeepAlive = false
    try {
      route.proxy(req, res)
    } catch (fault) {
      this.#log.error({ method: req.method, path: redactUrl(req.url ?? ''), err: asError(fault) }, 'fault')
      if (res.headersSent) res.destroy()
      else refuse(req, res, 500)
    }
  }

  /** Makes the responses whose head was not sent yet tell their clients to close the connection. */
  #closeAfterAnswers(): void {
    for (const res of this.#openResponses) if (!res.headersSent) res.shouldKeepAlive = false
  }
}

/** The path that selects a route. The proxy itself checks the request target. */
export function pathOf({ url = '' }: IncomingMessage): string {
  return url.replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)[0] || '/'
}
