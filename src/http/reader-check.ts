import http, { type IncomingMessage } from 'node:http'
import debug from 'debug'
import { asError } from '../errors.ts'
import { DirectSocket, directBodyOf } from './direct-socket.ts'
import { MemorySocket } from './memory-socket.ts'

const interim = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'
const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'
/** Read in this order. The second read ends within a chunk, and the third has an extension and trailers. */
const reads = [
  `${interim}${head}3\r\none\r\n`,
  '3\r\ntw',
  'o\r\n5;ext=1\r\nthree\r\n0\r\ntrailer: yes\r\n\r\n',
]
const expected = 'held|direct one|direct tw|direct o|node three|end yes'

const lengthHead = 'HTTP/1.1 200 OK\r\ncontent-length: 10003\r\n\r\n'
/** A body with a length: a part with the head, a part, and the last byte. */
const lengthReads = [`${lengthHead}${'a'.repeat(10_000)}`, 'bc', 'd']
const expectedOfLength = `held|direct ${'a'.repeat(10_000)}|direct bc|direct d|end`

/** Reads a body with a length that bypasses the response, and tells what has happened. */
function readLength(onEnd: (log: string) => void): void {
  const log: string[] = []
  const socket = new MemorySocket()
  const reader = new DirectSocket(socket)
  const finish = (last: string) => {
    onEnd([...log, last].join('|'))
    request.on('error', () => {}).destroy()
  }
  const onResponse = (response: IncomingMessage) => {
    reader.hold(response)
    log.push(directBodyOf(response) ? 'held' : 'not held')
    directBodyOf(response)?.read({ onBytes: (bytes) => log.push(`direct ${bytes}`) })
    response.on('data', (bytes) => log.push(`node ${bytes}`)).on('end', () => finish('end'))
    process.nextTick(() => {
      for (const bytes of lengthReads.slice(1)) reader.read(Buffer.from(bytes))
    })
  }
  const request = http.request({ createConnection: () => socket })
  request.on('error', (error) => finish(error.message)).on('response', onResponse)
  request.on('socket', () => {
    reader.expectHead()
    reader.read(Buffer.from(lengthReads[0] ?? ''))
    if (log.length === 0) finish('no response during the read')
  })
  request.end()
}

/** Reads an event stream whose body bypasses node:http until its first extension, and tells what has happened. */
function readStream(onEnd: (log: string) => void): void {
  const log: string[] = []
  const socket = new MemorySocket()
  const reader = new DirectSocket(socket)
  const finish = (...last: string[]) => {
    onEnd([...log, ...last].join('|'))
    request.on('error', () => {}).destroy()
  }
  const readNext = (n: number) => {
    const bytes = Buffer.from(reads[n] ?? '')
    reader.read(bytes)
    // As in a buffer that is used for the next read.
    bytes.fill('-')
  }
  const onResponse = (response: IncomingMessage) => {
    reader.hold(response)
    const body = directBodyOf(response)
    if (body === undefined) {
      finish('not held')
      return
    }
    log.push('held')
    response.on('end', () => finish(`end ${response.trailers.trailer}`))
    let isDirect = true
    body.read({ onBytes: (bytes) => log.push(`${isDirect ? 'direct' : 'node'} ${bytes}`) })
    response.resume()
    process.nextTick(() => {
      readNext(1)
      // The rest of the chunk bypasses node:http, and what follows does not.
      const { push } = response
      response.push = (...args) => {
        isDirect = false
        return push.apply(response, args)
      }
      readNext(2)
    })
  }
  const request = http.request({ createConnection: () => socket })
  request.on('error', (error) => finish(error.message)).on('response', onResponse)
  request.on('socket', () => {
    reader.expectHead()
    readNext(0)
    if (log.length === 0) finish('no response during the read')
  })
  request.end()
}

let isProven: boolean | undefined
let isStarted = false

/**
 * Whether a body that bypasses node:http ends as it would without that, on this version of Node. Not before the check is
 * complete, which takes a few ticks: fewer than the first connection.
 */
export function isReaderProven(): boolean {
  return isProven === true
}

/** Runs the check once, without a connection. */
export function startReaderCheck(): void {
  if (isStarted) return
  isStarted = true
  try {
    readStream((log) => {
      if (log === expected) readLength((ofLength) => settle(ofLength, expectedOfLength))
      else settle(log, expected)
    })
  } catch (error) {
    settle(asError(error).message, expected)
  }
}

function settle(log: string, expectedLog: string): void {
  if (isProven !== undefined) return
  isProven = log === expectedLog
  if (isProven) return
  debug('resilient-sse:fast-path')('node:http reads all bodies, because a body was read as %j', log)
}
