import http from 'node:http'
import { text } from 'node:stream/consumers'
import { setImmediate as nextTurn } from 'node:timers/promises'
import debug from 'debug'
import { asError } from '../errors.ts'
import { Cancellation } from './cancellation.ts'
import { dialHttp } from './dialer.ts'
import { areRequestsObserved, DirectRequests } from './direct-request.ts'
import { DirectSocket } from './direct-socket.ts'
import { IdleSockets } from './idle-sockets.ts'
import { MemorySocket } from './memory-socket.ts'
import { ShortAnswer } from './short-answer.ts'

const short = 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none'
const chunked = ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n', '\r\n3\r\ntwo\r\n0\r\n\r\n']
/** What is read for each request. */
const reads = [[short], [short], chunked, [short]]
const head = 'GET / HTTP/1.1\r\nhost: localhost\r\nConnection: keep-alive\r\n\r\n'
const expected = ['node one', 'direct one', 'node two', 'direct one', head.repeat(4)].join('|')

/** A connection that keeps what is written. */
class LoggingSocket extends MemorySocket {
  written = ''

  override _write(bytes: unknown, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.written += bytes
    super._write(bytes, encoding, callback)
  }

  override _writev(chunks: { chunk: unknown }[], callback: (error?: Error | null) => void): void {
    for (const { chunk } of chunks) this.written += chunk
    super._writev(chunks, callback)
  }
}

/**
 * Sends four requests on one connection and tells what has happened. All but the first are sent past node:http, which reads the answer
 * to the third.
 */
async function send(): Promise<string> {
  const log: string[] = []
  const agent = new http.Agent({ keepAlive: true })
  const idle = new IdleSockets(agent, () => true)
  const socket = new LoggingSocket()
  const reader = new DirectSocket(socket)
  agent.createConnection = (options) => {
    idle.add(socket, options)
    return socket
  }
  const requests = new DirectRequests(idle, agent.getName({ host: 'localhost', port: 80 }), () => true)
  const signal = new Cancellation()
  const call = () => ({ options: { agent, headers: { host: 'localhost' } }, signal })
  const direct = { path: '/', fields: new Map([['host', ['localhost']]]), signal, call }
  for (const [n, parts] of reads.entries()) {
    const answered = n === 0 ? dialHttp(call()) : requests.send(direct)
    if (answered === undefined) return [...log, 'not sent'].join('|')
    // Handled below: until then a rejection would end the process.
    answered.catch(() => {})
    for (const part of parts) {
      await nextTurn()
      reader.read(Buffer.from(part))
    }
    const answer = await answered
    log.push(answer instanceof ShortAnswer ? `direct ${answer.text}` : `node ${await text(answer)}`)
    // The connection is free after the response has emitted `end`.
    await nextTurn()
  }
  agent.destroy()
  return [...log, socket.written].join('|')
}

let isProven: boolean | undefined
let isStarted = false

/** Whether {@link DirectRequests} works on this version of Node. Not before the check is complete, which takes a few ticks. */
export function areRequestsProven(): boolean {
  return isProven === true
}

/** Runs the check once, without a connection. Not while requests are observed: a mock would answer those of the check. */
export function startRequestCheck(): void {
  if (isStarted || areRequestsObserved()) return
  isStarted = true
  send().then(settle, (error: unknown) => settle(asError(error).message))
}

function settle(log: string): void {
  isProven = log === expected
  if (isProven) return
  debug('resilient-sse:fast-path')('node:http sends all requests, because requests were answered as %j', log)
}
