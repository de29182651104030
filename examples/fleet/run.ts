// A fleet on this machine, without Docker: redis-server, an upstream, and two gateways. The gateway that has the upstream is
// killed, and its client goes on at the other one: no event is lost or comes twice. Needs redis-server on the PATH, and
// `npm run build`; takes about 20 seconds, most of which is the time for which the dead gateway is believed to be alive.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const total = 60
const command = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))
const started: ChildProcess[] = []

/** Listens on a free port, and gives the port. */
async function listen(server: http.Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}

/** An upstream that counts on from `Last-Event-ID`, five events a second. */
const upstream = http.createServer((req, res) => {
  res.writeHead(200, { 'content-type': 'text/event-stream' })
  let n = Number(req.headers['last-event-id'] ?? 0)
  console.log(`upstream: asked for what follows event ${n}`)
  const timer = setInterval(() => res.write(`id: ${++n}\ndata: event ${n}\n\n`), 200)
  res.on('close', () => clearInterval(timer))
})

async function startRedis(): Promise<string> {
  const reserved = http.createServer()
  const port = await listen(reserved)
  await once(reserved.close(), 'close')
  const options = ['--save', '', '--appendonly', 'no', '--bind', '127.0.0.1', '--port', `${port}`]
  started.push(spawn('redis-server', options, { stdio: 'ignore' }))
  return `redis://127.0.0.1:${port}`
}

/** Starts a gateway, and waits until it listens. */
async function startGateway(from: string, redis: string): Promise<{ process: ChildProcess; url: string }> {
  const options = ['--upstream', from, '--share', 'true', '--from', 'start', '--bind', '127.0.0.1:0']
  const gateway = spawn(process.execPath, [command, ...options], {
    env: { ...process.env, RESILIENT_SSE_REDIS: redis },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  started.push(gateway)
  for await (const line of createInterface({ input: gateway.stderr })) {
    const port = /msg=listening address=127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port) return { process: gateway, url: `http://127.0.0.1:${port}/events` }
  }
  throw new Error('a gateway has ended')
}

let lastEventId = ''
const received: number[] = []

/** Reads a gateway's stream until its end. */
async function read(url: string, onEvent: (n: number) => void): Promise<void> {
  // Behind a balancer, both gateways are asked for the same host.
  const headers = { accept: 'text/event-stream', host: 'fleet.test', 'last-event-id': lastEventId }
  const [response] = await once(http.get(url, { headers, agent: false }), 'response')
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) {
    const blocks = `${text}${chunk}`.split('\n\n')
    // A block that is cut off is no event.
    text = blocks.pop() ?? ''
    for (const block of blocks) {
      const [, id, n] = /^id: (.*)\ndata: event (\d+)$/m.exec(block) ?? []
      if (id === undefined || received.length === total) continue
      lastEventId = id
      received.push(Number(n))
      onEvent(Number(n))
    }
    if (received.length === total) return
  }
}

const redis = await startRedis()
const from = `http://127.0.0.1:${await listen(upstream)}`
const first = await startGateway(from, redis)
const second = await startGateway(from, redis)
try {
  await read(first.url, (n) => {
    if (n !== 10) return
    console.log('the gateway that has the upstream is killed after event 10')
    first.process.kill('SIGKILL')
  }).catch(() => {})
  for (const end = Date.now() + 60_000; received.at(-1) !== total && Date.now() < end; await delay(100)) {
    console.log(`client: asks the other gateway for what follows event ${received.at(-1)}`)
    await read(second.url, (n) => n % 10 === 0 && console.log(`client: event ${n}`)).catch(() => {})
  }
  const isWhole = received.length === total && received.every((n, index) => n === index + 1)
  console.log(isWhole ? `client: events 1 to ${total}, each once` : `client: WRONG: ${received.join(' ')}`)
  process.exitCode = isWhole ? 0 : 1
} finally {
  for (const each of started) each.kill('SIGKILL')
  upstream.close().closeAllConnections()
}
