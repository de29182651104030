import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { Logger } from '../diagnostics.ts'
import { asError } from '../errors.ts'
import { redactUrl } from '../http/url.ts'
import { refuse } from '../proxy/downstream.ts'
import { proxyListener, refuseUpgrade } from '../proxy/proxy.ts'
import { type Route, routeFor } from './config.ts'

/** How often it is looked for answers that have become streams, or idle connections, during a drain. */
const drainInterval = 50

/** Passes requests on, each by its route, and knows those that are under way. */
export class Gateway {
  readonly server = http.createServer((req, res) => this.#answer(req, res))
  draining = false
  readonly #routes: readonly (Route & { readonly pass: ReturnType<typeof proxyListener> })[]
  readonly #log: Logger
  readonly #answers = new Set<ServerResponse>()
  /** Answers that can be ended between two blocks, as their clients come back for the rest. */
  readonly #resumable = new WeakSet<object>()
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
    const streams = this.#dismissStreams()
    this.#log.info({ streams, requests: this.#answers.size - streams, limit }, 'draining')
    const timer = setInterval(() => {
      this.#dismissStreams()
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
    return proxyListener({ ...options, logger: { ...log, error }, onError }, (res) =>
      this.#resumable.add(res),
    )
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

  /** @returns How many streams there were. */
  #dismissStreams(): number {
    let streams = 0
    for (const res of this.#answers) {
      if (!res.headersSent) res.shouldKeepAlive = false
      else if (this.#resumable.has(res)) {
        streams++
        dismiss(res)
      }
    }
    return streams
  }
}

/** What a route is chosen by: no more than that, the proxy has its own look at the request target. */
export function pathOf({ url = '' }: IncomingMessage): string {
  return url.replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)[0] || '/'
}

/** Not all at once: those who serve next would get everybody in the same moment. */
function dismiss(res: ServerResponse): void {
  if (res.writableEnded) return
  // A relay writes whole blocks, so this stands between two of them.
  res.write(`retry: ${1000 + Math.floor(Math.random() * 4000)}\n`)
  res.end()
}
