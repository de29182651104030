// The upstream, in a process of its own: each process then has one end of each connection.
import { once } from 'node:events'
import http from 'node:http'
import type { Socket } from 'node:net'
import { parseArgs } from 'node:util'
import { wireOf } from '../../src/demo/numbered-event.ts'

const { values } = parseArgs({
  options: { streams: { type: 'string', default: '1' }, base: { type: 'string', default: '1000' } },
})
const streams = Number(values.streams)
const base = Number(values.base)

interface Feed {
  readonly response: http.ServerResponse
  next: number
}

const sockets = new Set<Socket>()
const feeds = new Set<Feed>()
const start = performance.now()
/** When it lost everybody, and who has come back since then, in milliseconds after it. */
let lostAt = start
let connects: number[] = []
/** Whether each path gets a 503 first, and which ones have had it. */
let unavailable = false
const refused = new Set<string | undefined>()
let port = 0

const server = http.createServer((request, response) => {
  const asked = Number(request.headers['last-event-id'] ?? 0)
  if (unavailable && !refused.has(request.url)) {
    refused.add(request.url)
    response.writeHead(503, { 'retry-after-ms': String(3 * base) }).end()
    return
  }
  connects.push(performance.now() - lostAt)
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.flushHeaders()
  const feed = { response, next: asked + 1 }
  feeds.add(feed)
  response.on('error', () => {})
  response.on('close', () => feeds.delete(feed))
  send(feed)
  if (connects.length === streams) process.send?.({ connects })
})
server.on('connection', (socket) => {
  sockets.add(socket)
  socket.on('error', () => {})
  socket.on('close', () => sockets.delete(socket))
})
await listen()
const publishing = setInterval(() => {
  for (const feed of feeds) send(feed)
}, base / 2)
process.on('message', (command) => {
  if (command === 'return') {
    void listen()
    return
  }
  lostAt = performance.now()
  connects = []
  if (command === 'end') endAll()
  else if (command === 'unavailable') refuseAll()
  else if (command === 'kill') killAll()
})
process.send?.({ port })
await once(process, 'disconnect')
clearInterval(publishing)
server.close()
for (const socket of sockets) socket.destroy()

/** All that is published by now; each stream has the same events. */
function send(feed: Feed): void {
  const last = Math.floor((performance.now() - start) / (base / 2))
  while (feed.next <= last) feed.response.write(wireOf(feed.next++))
}

function endAll(): void {
  for (const { response } of feeds) response.end()
  feeds.clear()
}

function resetAll(): void {
  feeds.clear()
  for (const socket of sockets) socket.resetAndDestroy()
}

function refuseAll(): void {
  unavailable = true
  refused.clear()
  resetAll()
}

/** Nobody listens until it is told to return. */
function killAll(): void {
  server.close()
  resetAll()
}

async function listen(): Promise<void> {
  server.listen({ port, host: '127.0.0.1', backlog: 4096 })
  try {
    await once(server, 'listening')
  } catch {
    // Somebody else may have taken the port meanwhile.
    setTimeout(() => void listen(), 50)
    return
  }
  const address = server.address()
  if (typeof address === 'object' && address !== null) port = address.port
}
