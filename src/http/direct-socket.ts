import type { IncomingMessage } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import { DirectBody, type Framing } from './direct-body.ts'
import { linesOf } from './fields.ts'
import { isEventStream } from './media-type.ts'
import { feed } from './parser-feed.ts'

const headEnd = Buffer.from('\r\n\r\n')

const sockets = new WeakMap<object, DirectSocket>()

/** The reader of a socket; undefined for a socket that Node reads in its usual way. */
export function directSocketOf(socket: object | null | undefined): DirectSocket | undefined {
  return socket ? sockets.get(socket) : undefined
}

/**
 * The body of a response if it can bypass node:http, and reading has not begun. Found by its socket: the entries of a WeakMap of
 * responses would survive until all of the heap is collected.
 */
export function directBodyOf(response: Readable): DirectBody | undefined {
  const socket = 'socket' in response && isObject(response.socket) ? response.socket : null
  return directSocketOf(socket)?.heldBodyOf(response)
}

/** Gets what is read first after a request that bypasses node:http. At most one of the functions is called, once. */
interface AnswerListener {
  /** @param bytes - The buffer is the caller's again after the call. */
  onBytes(bytes: Buffer): void
  /** The connection has closed without a byte. */
  onClose(): void
}

/** For the first bytes of an answer that are kept for another request: until the next tick, so that one buffer is enough. */
const spare = Buffer.allocUnsafeSlow(65_536)
let isSpareUsed = false

/** Copies bytes into a buffer that is used again: a new one for each long answer would be garbage outside the heap of V8. */
function spareCopyOf(bytes: Buffer): Buffer {
  if (isSpareUsed || bytes.length > spare.length) return Buffer.from(bytes)
  isSpareUsed = true
  const copy = spare.subarray(0, bytes.length)
  copy.set(bytes)
  return copy
}

function releaseSpare(bytes: Buffer): void {
  if (bytes.buffer === spare.buffer) isSpareUsed = false
}

/**
 * Reads a client's socket in place of Node, and hands the bytes to node:http as `data` events, as Node would, unless a request that
 * bypasses node:http waits for them. The body of an event stream, or of a long answer, bypasses node:http if it is read through its
 * {@link DirectBody}.
 *
 * What Node does not document: node:http parses what the socket emits as `data`, and emits a response as soon as it has got the
 * last byte of its head, during the event.
 */
export class DirectSocket {
  readonly #socket: Duplex
  /** How many bytes of a head's end have been seen; undefined while there is no head to be read. */
  #matched: number | undefined
  #isAtHeadStart = false
  /** Whether node:http gets the last byte of a head, and nothing else. */
  #isAtHeadEnd = false
  #body: DirectBody | undefined
  #listener: AnswerListener | undefined
  /** What the next request of node:http that gets the socket reads first. */
  #unread: Buffer | undefined

  constructor(socket: Duplex) {
    this.#socket = socket
    sockets.set(socket, this)
  }

  /** To be called when a request has got the socket. */
  expectHead(): void {
    this.#matched = 0
    this.#isAtHeadStart = true
    this.#body = undefined
    const unread = this.#unread
    this.#unread = undefined
    // The request has the socket once all listeners of its event `socket` have been called.
    if (unread) {
      process.nextTick(() => {
        this.read(unread)
        releaseSpare(unread)
      })
    }
  }

  /** To be called when a request that bypasses node:http has got the socket, and with undefined when it is cancelled. */
  expectAnswer(listener: AnswerListener | undefined): void {
    this.#listener = listener
  }

  /** Keeps the first bytes of an answer for the next request of node:http that gets the socket. */
  putBack(bytes: Buffer): void {
    this.#unread = spareCopyOf(bytes)
  }

  /** How many bytes are kept for the next request. */
  get unreadLength(): number {
    return this.#unread?.length ?? 0
  }

  /** To be called when the socket has closed. */
  close(): void {
    if (this.#unread) releaseSpare(this.#unread)
    this.#unread = undefined
    const listener = this.#listener
    this.#listener = undefined
    listener?.onClose()
  }

  /**
   * To be called while node:http emits a response. Holds the body back if it can bypass node:http, until it is read: as a
   * Readable, or directly.
   */
  hold(response: IncomingMessage): void {
    this.#matched = undefined
    // A lenient parser accepts other line ends, so that a head may end earlier.
    const framing = this.#isAtHeadEnd ? framingOf(response) : undefined
    if (framing !== undefined) this.#body = new DirectBody(response, this.#socket, framing)
  }

  heldBodyOf(response: Readable): DirectBody | undefined {
    return this.#body?.isHeldOf(response) ? this.#body : undefined
  }

  /** Takes what was read. The buffer is the caller's again after the call, and its bytes may have changed. */
  read(bytes: Buffer): void {
    const listener = this.#listener
    if (listener) {
      this.#listener = undefined
      listener.onBytes(bytes)
      return
    }
    let at = 0
    while (at < bytes.length) {
      if (this.#body) {
        this.#body.take(bytes, at)
        return
      }
      const isStart = this.#isAtHeadStart
      this.#isAtHeadStart = false
      const end = this.#matched === undefined ? bytes.length : this.#endOfHead(bytes, at, this.#matched)
      const isEnd = this.#matched === headEnd.length
      if (isStart && isEnd && isPlainAnswer(bytes, at, end)) {
        this.#matched = undefined
        feed(this.#socket, bytes.subarray(at))
        return
      }
      feed(this.#socket, bytes.subarray(at, isEnd ? end - 1 : end))
      if (isEnd) this.#endHead()
      at = end
    }
  }

  #endHead(): void {
    if (this.#matched !== undefined) this.expectHead()
    this.#isAtHeadEnd = true
    feed(this.#socket, headEnd.subarray(-1))
    this.#isAtHeadEnd = false
  }

  /** Where a head may end. So a response is emitted right before the first byte of its body. */
  #endOfHead(bytes: Buffer, start: number, seen: number): number {
    const whole = seen === 0 ? bytes.indexOf(headEnd, start) : -1
    if (whole !== -1) {
      this.#matched = headEnd.length
      return whole + headEnd.length
    }
    let matched = seen
    let at = seen === 0 ? Math.max(start, bytes.length - headEnd.length) : start
    while (at < bytes.length && matched < headEnd.length) {
      const byte = bytes[at++]
      if (byte === headEnd[matched]) matched++
      else matched = byte === headEnd[0] ? 1 : 0
    }
    this.#matched = matched
    return at
  }
}

const firstDigit = 'HTTP/1.1 '.length
const interim = 0x31

/** An event stream, or a length of at least 10,000 bytes. */
const mayBypass = /event-stream|content-length:\s*\d{5}/i
const longLength = /^[1-9]\d{4,14}$/

/**
 * Whether a head is a final one of a body that does not bypass node:http, so that node:http may get it in one piece with the body:
 * each further piece costs as much as all checks of a short head.
 */
function isPlainAnswer(bytes: Buffer, start: number, end: number): boolean {
  return bytes[start + firstDigit] !== interim && !mayBypass.test(bytes.toString('latin1', start, end))
}

const framingFields = /^\s*(?:transfer-encoding|content-length)\s*$/i

/** How a body ends; undefined for a body that does not bypass node:http. */
function framingOf(response: IncomingMessage): Framing | undefined {
  const { statusCode, rawHeaders, httpVersion } = response
  if (statusCode !== 200 || httpVersion !== '1.1' || !hasBodyMethod(response)) return undefined
  // A lenient parser also accepts a name with a space at its end, which Node leaves there.
  let lines = 0
  for (let n = 0; n < rawHeaders.length; n += 2) if (framingFields.test(rawHeaders[n] ?? '')) lines++
  if (lines > 1) return undefined
  const [length] = linesOf(rawHeaders, 'content-length')
  if (length !== undefined) return longLength.test(length) ? Number(length) : undefined
  if (!isEventStream(linesOf(rawHeaders, 'content-type'))) return undefined
  // After the other checks: node:http makes this object when it is first read.
  const { headers } = response
  if (headers['content-encoding'] !== undefined) return undefined
  if (lines === 0) return 'close'
  return headers['transfer-encoding']?.toLowerCase() === 'chunked' ? 'chunked' : undefined
}

/** Whether the answer to a request has a body as its fields say. */
function hasBodyMethod(response: IncomingMessage): boolean {
  const method =
    'req' in response && isObject(response.req) && 'method' in response.req && response.req.method
  return typeof method === 'string' && method !== 'HEAD' && method !== 'CONNECT'
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
