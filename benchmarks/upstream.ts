// The upstream process, `upstream.ts [PROTOCOL]`: `http` or `https`. It says `{ port }` first, and then answers questions.
import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { certificate } from '../test/support/certificate.ts'
import { answerWith, now } from './answering.ts'
import { EventWriter, jsonOf, type Plan } from './wire.ts'

export type UpstreamQuestion =
  | { readonly ask: 'plan'; readonly plan: Plan }
  | { readonly ask: 'go'; readonly count: number }
  | { readonly ask: 'halt' | 'streams' | 'end' | 'leave' | 'return' | 'reset' | 'answeredAt' }

interface Stream {
  readonly res: ServerResponse
  /** The id of its latest event. */
  last: number
}

const streams = new Set<Stream>()
let plan: Plan = { eventSize: 120, pace: 'quiet' }
let writer = new EventWriter(plan)
/** What ends the current run. */
let stop: () => void = () => {}
let answeredAt = 0

let json = jsonOf(0)
const server =
  process.argv[2] === 'https' ? https.createServer(certificate, answer) : http.createServer(answer)

// A kind waits for its turn on connections that its agent keeps; one that the upstream closes in between would fail its next request.
server.keepAliveTimeout = 0

function answer(req: IncomingMessage, res: ServerResponse): void {
  if (plan.json !== undefined) {
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': json.length }).end(json)
    return
  }
  const stream: Stream = { res, last: Number(req.headers['last-event-id'] ?? 0) }
  streams.add(stream)
  res.on('close', () => streams.delete(stream))
  res.writeHead(200, { 'content-type': 'text/event-stream' })
  answeredAt = now()
  if (plan.retry !== undefined) res.write(`retry: ${plan.retry}\n\n`)
  const again = Math.min(stream.last, plan.replay ?? 0)
  if (again > 0) res.write(writer.write(stream.last - again + 1, again))
  // Some kinds keep the head back until there is something behind it.
  send(stream, 1)
}

/** @returns whether the stream takes more right now. */
function send(stream: Stream, count: number): boolean {
  const bytes = writer.write(stream.last + 1, count)
  stream.last += count
  return stream.res.write(bytes)
}

/** One event on each stream every so many milliseconds, never all streams at once. */
function sendTimed(every: number): () => void {
  const order = [...streams]
  const start = now()
  let sent = 0
  const tick = setInterval(() => {
    const due = ((now() - start) / every) * order.length
    for (; sent < due; sent++) {
      const stream = order[sent % order.length]
      if (stream) send(stream, 1)
    }
  }, 1)
  return () => clearInterval(tick)
}

/** So many events on each stream: a write on each one that takes it, then whatever else there is to do, and so on. */
function sendAll(writeSize: number, count: number): () => void {
  const perWrite = Math.max(1, Math.floor(writeSize / plan.eventSize))
  const goals = new Map([...streams].map((stream) => [stream, stream.last + count]))
  const ready = new Set(streams)
  let running = true
  let turn: NodeJS.Immediate | undefined
  const go = () => {
    turn = undefined
    for (const stream of ready) {
      const left = (goals.get(stream) ?? 0) - stream.last
      const more = send(stream, Math.min(perWrite, left))
      if (more && left > perWrite) continue
      ready.delete(stream)
      if (left <= perWrite) continue
      stream.res.once('drain', () => {
        ready.add(stream)
        if (running) turn ??= setImmediate(go)
      })
    }
    if (ready.size > 0) turn = setImmediate(go)
  }
  go()
  return () => {
    running = false
    clearImmediate(turn)
  }
}

async function listen(port: number): Promise<number> {
  server.listen({ port, host: '127.0.0.1', backlog: 16_384 })
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return address.port
}

const port = await listen(0)

answerWith<UpstreamQuestion>(async (question) => {
  switch (question.ask) {
    case 'plan':
      plan = question.plan
      writer = new EventWriter(plan)
      json = jsonOf(plan.json ?? 0)
      return
    case 'go': {
      const start = now()
      stop()
      if (typeof plan.pace === 'string') for (const stream of streams) send(stream, question.count)
      else if ('every' in plan.pace) stop = sendTimed(plan.pace.every)
      else stop = sendAll(plan.pace.writeSize, question.count)
      return start
    }
    case 'halt':
      stop()
      stop = () => {}
      return [...streams].map(({ last }) => last)
    case 'streams':
      return streams.size
    case 'end':
      for (const { res } of streams) res.end()
      return now()
    case 'reset':
      for (const { res } of streams) res.socket?.resetAndDestroy()
      return now()
    case 'leave':
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
      return now()
    case 'return':
      await listen(port)
      return now()
    case 'answeredAt':
      return answeredAt
  }
})
process.send?.({ port })
