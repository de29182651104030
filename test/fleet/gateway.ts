// A gateway of a fleet: a process of its own, which shares its streams with others through Redis.
import http from 'node:http'
import { createClient } from 'redis'
import { createSseHub, httpUpstream, type SharedStreamOptions } from '../../src/index.ts'
import { redisStore } from '../../src/redis.ts'

const {
  REDIS = '',
  UPSTREAM = '',
  LEASE = '10000',
  STORE_TIMEOUT = '30000',
  POLL = '2000',
  LINGER = '200',
  STALL_TIMEOUT = '60000',
  MAX_RETRIES = '10',
} = process.env
const hub = createSseHub({
  store: redisStore(createClient({ url: REDIS })),
  lease: Number(LEASE),
  storeTimeout: Number(STORE_TIMEOUT),
  poll: Number(POLL),
})
const reconnect = { baseDelay: 10, minDelay: 1, maxDelay: 50, jitter: 0, maxRetries: Number(MAX_RETRIES) }
const feed: SharedStreamOptions = {
  reconnect,
  heartbeat: 50,
  statusEvents: true,
  linger: Number(LINGER),
  stallTimeout: Number(STALL_TIMEOUT),
  retention: { bytes: 256 * 1024 * 1024, events: 100_000 },
}
const session: SharedStreamOptions = {
  ...feed,
  linger: Number.POSITIVE_INFINITY,
  from: 'start',
  resume: 'before-first-event',
  isTerminal: ({ data }) => data === '[DONE]',
}

const server = http.createServer((req, res) => {
  const { pathname } = new URL(req.url ?? '/', 'http://a')
  const [, action, name = ''] = pathname.split('/')
  const answer = (result: Promise<unknown>) =>
    result.then(
      (value) => res.end(JSON.stringify(value ?? null)),
      (error: unknown) => res.writeHead(500).end(String(error)),
    )
  if (action === 'feed') void hub.relay(req, res, name, httpUpstream(UPSTREAM), feed)
  else if (action === 'session') {
    void hub.relay(req, res, name, httpUpstream(UPSTREAM, { method: 'POST', body: '{}' }), session)
  } else if (action === 'cancel') void answer(hub.cancel(name))
  else if (action === 'status') void answer(hub.status(name))
  else res.writeHead(404).end()
})
server.listen(0, '127.0.0.1', () => console.log(`port ${Object(server.address()).port}`))
process.on('SIGTERM', async () => {
  server.close()
  await hub.close({ drain: 1000 })
  server.closeAllConnections()
})
