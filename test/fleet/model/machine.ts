// A machine of the model: a process that opens one hub after another, as its parent says.
import { once } from 'node:events'
import http, { type RequestListener } from 'node:http'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { createSseHub, httpUpstream, type SharedStreamOptions, type SseHub } from '../../../src/index.ts'
import { type RedisClient, redisStore } from '../../../src/redis.ts'
import { portOf } from '../../support/server.ts'
import { until } from '../../support/until.ts'

const reconnect = {
  baseDelay: 10,
  minDelay: 1,
  maxDelay: 50,
  jitter: 0,
  maxRetries: Number.POSITIVE_INFINITY,
}
const session: SharedStreamOptions = {
  resume: 'before-first-event',
  isTerminal: ({ data }) => data === '[DONE]',
}

const say = (text: string) => void process.send?.(text)

function clientOf(name: string, url: string): RedisClient {
  return name === 'redis'
    ? createClient({ url, socket: { reconnectStrategy: 20 } })
    : new Redis(url, { lazyConnect: true, retryStrategy: () => 20 })
}

/** Serves the stream to everybody who asks, and cancels it for `/cancel`. */
function listenerOf(hub: SseHub, settings: URLSearchParams): RequestListener {
  const isSession = settings.get('kind') === 'session'
  const options: SharedStreamOptions = {
    reconnect,
    heartbeat: 50,
    statusEvents: true,
    linger: Number(settings.get('linger')),
    ...(isSession && session),
  }
  const headers = { 'x-machine': settings.get('machine') ?? '' }
  const request = isSession ? { method: 'POST', body: '{}', headers } : { headers }
  const upstream = httpUpstream(settings.get('upstream') ?? '', request)
  return (req, res) => {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://a')
    if (pathname === '/cancel') {
      hub.cancel('model').then(
        (isCancelled) => res.end(String(isCancelled)),
        () => res.writeHead(503).end(),
      )
      return
    }
    const from = searchParams.get('from') === 'live' ? 'live' : 'start'
    hub.relay(req, res, 'model', upstream, { ...options, from }).catch((fault: unknown) => {
      say(`fault ${fault}`)
      res.destroy()
    })
  }
}

function openHub(settings: URLSearchParams) {
  const store = redisStore(clientOf(settings.get('package') ?? '', settings.get('redis') ?? ''))
  const hub = createSseHub({
    store,
    poll: 100,
    lease: Number(settings.get('lease')),
    storeTimeout: Number(settings.get('storeTimeout')),
    windowBytes: Number(settings.get('windowBytes')),
  })
  return { hub, server: http.createServer(listenerOf(hub, settings)) }
}

let current: ReturnType<typeof openHub> | undefined

async function open(settings: URLSearchParams): Promise<void> {
  current = openHub(settings)
  current.server.listen(0, '127.0.0.1')
  await once(current.server, 'listening')
  say(`port ${portOf(current.server)}`)
}

/** Sockets, servers and timers of this process. */
function handles(): string[] {
  return process.getActiveResourcesInfo().filter((type) => /^TCP|^Timeout$/.test(type))
}

async function close(drain: number): Promise<void> {
  if (current) {
    const { hub, server } = current
    current = undefined
    const closed = once(server, 'close')
    server.close()
    await hub.close({ drain })
    server.closeAllConnections()
    await closed
  }
  // Sockets close asynchronously; ioredis waits up to 2 s for the other side.
  await until(() => handles().length === 0, String).catch(() => {})
  say(`closed ${handles().join()}`)
}

process.on('message', (message) => {
  const settings = new URLSearchParams(String(message))
  const drain = settings.get('close')
  void (drain === null ? open(settings) : close(Number(drain)))
})
process.on('unhandledRejection', (error) =>
  say(`fault unhandled ${error instanceof Error ? error.stack : error}`),
)
say('started')
