#!/usr/bin/env node
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from '../diagnostics.ts'
import { asError } from '../errors.ts'
import { isEventStream } from '../http/media-type.ts'
import { redactUrl } from '../http/url.ts'
import type { MetricsCollection } from '../metrics.ts'
import { refuse } from '../proxy/exchange.ts'
import { createSseProxy, refuseUpgrade } from '../proxy/proxy.ts'
import { type Config, ConfigError, type Route, readConfig, routeFor } from './config.ts'
import { createLogger, oneLine } from './log.ts'
import { type Address, helpText } from './settings.ts'

async function main(args: readonly string[]): Promise<void> {
  try {
    if (args[0] === 'demo') {
      const { demo } = await import('../demo/main.ts')
      process.exitCode = await demo(args.slice(1), process)
      return
    }
    const config = readConfig(args, process.env)
    if (config === 'help') process.stdout.write(helpText())
    else if (config === 'version') process.stdout.write(`${version()}\n`)
    else await run(config)
  } catch (error) {
    const wrong = error instanceof ConfigError
    process.stderr.write(`resilient-sse: ${oneLine(asError(error).message)}${wrong ? ' (see --help)' : ''}\n`)
    // Not by itself: one of two servers may be listening.
    process.exit(wrong ? 2 : 1)
  }
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown'
}

/** Serves until a signal ends it. */
async function run(config: Config): Promise<void> {
  const { bind, metricsBind, drain, logFormat, logLevel, routes } = config
  const log = createLogger({
    format: logFormat,
    level: logLevel,
    write: (line) => process.stderr.write(line),
  })
  const gateway = new Gateway(routes, log)
  const admin = metricsBind && (await adminServer(gateway))
  if (admin) log.info({ address: await listen(admin, metricsBind) }, 'metrics listening')
  log.info({ address: await listen(gateway.server, bind) }, 'listening')
  const onFault = (fault: unknown) => log.error({ err: asError(fault) }, 'fault')
  // One request's fault is not to end the streams of all others.
  process.on('uncaughtException', onFault).on('unhandledRejection', onFault)
  await firstSignal()
  await gateway.drain(drain * 1000)
  log.info({}, 'stopped')
  process.exit(0)
}

/** Resolves at the first signal; the next one, whichever it is, ends the process at once. */
async function firstSignal(): Promise<void> {
  await new Promise<void>((resolve) => {
    let stopping = false
    const onSignal = (_: string, number: number) => {
      if (stopping) process.exit(128 + number)
      stopping = true
      resolve()
    }
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  })
}

/** @returns The address, with the port that it got. */
async function listen(server: http.Server, { host, port }: Address): Promise<string> {
  const shown = (port: number) => `${host.includes(':') ? `[${host}]` : host}:${port}`
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (error) {
    throw new Error(`cannot listen on ${shown(port)}: ${asError(error).message}`, { cause: error })
  }
  const address: AddressInfo | string | null = server.address()
  return shown(typeof address === 'object' && address !== null ? address.port : port)
}

/** A request that is being answered. */
interface Answer {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly route: Route
}

/** How often it is looked for answers that have become streams, or idle connections, during a drain. */
const drainInterval = 50

/** Passes requests on, each by its route, and knows those that are under way. */
class Gateway {
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

  #proxyOf({ upstream, connectTimeout, relay }: Route) {
    const log = this.#log
    const error = (fields: object, message: string) => {
      if ('err' in fields && fields.err instanceof Error) this.#logged.add(fields.err)
      log.error(fields, message)
    }
    return createSseProxy({
      upstream,
      connectTimeout,
      relay,
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
function pathOf({ url = '' }: IncomingMessage): string {
  return url.replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)[0] || '/'
}

/** Whether its client can come back for the rest, and would ask for nothing twice. */
function isResumable({ req, res, route }: Answer): boolean {
  const { 'transfer-encoding': coding, 'content-length': length = '0' } = req.headers
  const asksOnly = req.method === 'GET' && coding === undefined && Number(length) === 0
  return (
    asksOnly &&
    route.relay.resume !== 'before-first-event' &&
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

/** Metrics, and what orchestrators ask for. */
async function adminServer(gateway: Gateway): Promise<http.Server> {
  const { collectMetrics } = await import('../metrics.ts')
  const metrics = await collectMetrics()
  return http.createServer((req, res) => {
    const path = pathOf(req)
    res.setHeader('cache-control', 'no-store')
    if (req.method !== 'GET' && req.method !== 'HEAD') reply(res, 405, 'method not allowed')
    else if (path === '/healthz') reply(res, 200, 'alive')
    else if (path === '/readyz')
      reply(res, gateway.draining ? 503 : 200, gateway.draining ? 'draining' : 'ready')
    else if (path === '/metrics') sendMetrics(res, metrics)
    else reply(res, 404, 'not found')
  })
}

function reply(res: ServerResponse, statusCode: number, text: string): void {
  res.writeHead(statusCode, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
}

function sendMetrics(res: ServerResponse, { registry }: MetricsCollection): void {
  registry.metrics().then(
    (text) => res.writeHead(200, { 'content-type': registry.contentType }).end(text),
    (error: unknown) => reply(res, 500, asError(error).message),
  )
}

// A terminal or collector that has gone is no reason to end.
process.stderr.on('error', () => {})
await main(process.argv.slice(2))
