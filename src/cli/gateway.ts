import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { Logger } from '../diagnostics.ts'
import { asError } from '../errors.ts'
import { isEventStream } from '../http/media-type.ts'
import { redactUrl } from '../http/url.ts'
import { refuse } from '../proxy/exchange.ts'
import { createSseProxy, refuseUpgrade } from '../proxy/proxy.ts'
import { type Route, routeFor } from './config.ts'

/** A request that is being answered. */
interface Answer {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly route: Route
}

/** How often it is looked for answers that have become streams, or idle connections, during a drain. */
const drainInterval = 50

/** Passes requests on, each by its route, and knows those that are under way. */
export class Gateway {
  readonly server = http.createServer((req, res) => this.#answer(req, res))
  draining = false
  readonly #routes: readonly (Route & { readonly pass: ReturnType<typeof createSseProxy> })[]
  readonly #log: Logger
  readonly #answers = new Set<Answer>()
  /** What a stream's own line has told of. */
  readonly #logged = new WeakSet<Error>()

  /** @throws {@link ConfigError} */
  constructor(routes: readonly Route[], log: Logger) {
    this.#log = log
    this.#routes = routes.map((route) => ({ ...route, pass: this.#proxyOf(route) }))
    // Balancers keep connections for a minute: it is for them to close first, or they lose requests.
    this.server.keepAliveTimeout = 75_000
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
    return createSseProxy({
      ...options,
      logger: { ...log, error },
      onError: (err, { method, url = '' }) => {
        if (!this.#logged.has(err)) log.warn({ method, path: redactUrl(url), err }, 'request failed')
      },
    })
  }

  #answer(req: IncomingMessage, res: ServerResponse): void {
    const route = routeFor(this.#routes, pathOf(req))
    if (route === undefined) {
      refuse(req, res, 404)
      return
    }
    const answer = { req, res, route }
    this.#answers.add(answer)
    res.once('close', () => this.#answers.delete(answer))
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
    for (const answer of this.#answers) {
      const { res } = answer
      if (res.headersSent) {
        if (isResumable(answer)) {
          streams++
          dismiss(res)
        }
      } else res.shouldKeepAlive = false
    }
    return streams
  }
}

/** What a route is chosen by: no more than that, the proxy has its own look at the request target. */
export function pathOf({ url = '' }: IncomingMessage): string {
  return url.replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)[0] || '/'
}

/** Whether its client can come back for the rest, and would ask for nothing twice. */
function isResumable({ req, res, route }: Answer): boolean {
  const { 'transfer-encoding': coding, 'content-length': length = '0' } = req.headers
  const asksOnly = req.method === 'GET' && coding === undefined && Number(length) === 0
  return (
    asksOnly &&
    route.relay.resume !== 'before-first-event' &&
    route.relay.resume !== 'never' &&
    isEventStream(String(res.getHeader('content-type'))) &&
    // Passed on as it came, encoded: nothing of ours may be put into it.
    !res.hasHeader('content-encoding')
  )
}

/** Not all at once: those who serve next would get everybody in the same moment. */
function dismiss(res: ServerResponse): void {
  if (res.writableEnded) return
  // A relay writes whole blocks, so this stands between two of them.
  res.write(`retry: ${1000 + Math.floor(Math.random() * 4000)}\n\n`)
  res.end()
}
