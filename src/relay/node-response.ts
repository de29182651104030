import { EventEmitter } from 'node:events'
import { OutgoingMessage } from 'node:http'
import { Http2ServerResponse } from 'node:http2'
import { Readable, type Writable } from 'node:stream'
import { ChunkedWriter } from '../http/chunked-writer.ts'
import { isWriterProven } from '../http/writer-check.ts'
import { hasDisconnected, onDisconnect } from './client.ts'
import type { Answer, Downstream, DownstreamListener, ResponseFields } from './downstream.ts'

/**
 * The members of a node:http, node:https or node:http2 response that a relay uses.
 *
 * @example
 * ```ts
 * import { type ClientRequestLike, type DownstreamResponse, httpUpstream, relaySse } from 'resilient-sse'
 *
 * const upstream = httpUpstream('http://localhost:3000/events')
 * const events = (req: ClientRequestLike, res: DownstreamResponse) => relaySse(req, res, upstream)
 * ```
 */
export type DownstreamResponse = Writable & {
  statusCode: number
  readonly headersSent: boolean
  getHeader(name: string): number | string | string[] | undefined
  setHeader(name: string, value: string): unknown
  removeHeader(name: string): void
  flushHeaders?(): void
}

/**
 * The bytes that are written to a full response, beyond its own high-water mark, before the upstream is paused. The response
 * usually drains within the same turn of the event loop, and pausing and resuming for each chunk is the largest cost of a relay.
 */
const highWaterMark = 65_536

/** The length of text from which on it is written at once. */
const mostGathered = 16_384

const nothing = Buffer.alloc(0)

// The functions that call back when the bytes were written to the socket; middleware that replaces them may not.
const writes = [OutgoingMessage.prototype.write, Http2ServerResponse.prototype.write]

function ignore(): void {}

function flushText(response: NodeResponse): void {
  response.flush()
}

/** A response of node:http, node:https or node:http2, or a framework's wrapper of such a response. */
export class NodeResponse implements Downstream {
  readonly #req: object
  readonly #res: DownstreamResponse
  readonly #fastPath: boolean
  /** Made with the first write that suits. */
  #writer: ChunkedWriter | undefined
  /** The bytes written since the response became full; 0 after it has drained. */
  #buffered = 0
  #isWaiting = false
  #listener: DownstreamListener | undefined
  #awaitsDrain = false
  /** Text that is written at the end of the turn, because each event of a transform is a text of its own. */
  #text = ''

  /** @param fastPath - Whether this package may frame the body of a chunked response. */
  constructor(req: object, res: DownstreamResponse, fastPath: boolean) {
    this.#req = req
    this.#res = res
    this.#fastPath = fastPath
  }

  get isHeadOut(): boolean {
    return this.#res.headersSent
  }

  get isClosed(): boolean {
    return this.#res.destroyed || this.#res.writableEnded || hasDisconnected(this.#req)
  }

  get isBehind(): boolean {
    return this.#buffered > 0
  }

  get pending(): number {
    const { writableLength } = this.#res
    // Otherwise only the event `drain`, which a response emits that was full, says that bytes were written to the socket.
    return writableLength > 0 && this.#callsBack ? writableLength : this.#buffered
  }

  field(name: string): string | undefined {
    const value = this.#res.getHeader(name)
    return value === undefined ? undefined : String(value)
  }

  listen(listener: DownstreamListener): void {
    const res = this.#res
    // Every error of a client, such as EPIPE, is followed by `close`, which is handled below.
    res.on('error', ignore)
    if (this.#req instanceof EventEmitter) this.#req.on('error', ignore)
    this.#listener = listener
    res.on('finish', () => listener.onFinish())
    onClose(this.#req, res, () => listener.onClose())
  }

  turn(): Promise<void> | undefined {
    return turnOf(this.#res)
  }

  discardRequestBody(): void {
    const req = this.#req
    const isUnread =
      req instanceof Readable && req.readableFlowing === null && req.listenerCount('readable') === 0
    if (isUnread) req.resume()
  }

  open(fields: ResponseFields): void {
    const res = this.#res
    if (res.headersSent) return
    res.statusCode = 200
    for (const [name, value] of fields) res.setHeader(name, value)
    res.flushHeaders?.()
  }

  answer({ status, fields, body }: Answer): void {
    const res = this.#res
    res.statusCode = status
    for (const [name, value] of fields) res.setHeader(name, value)
    res.end(body)
  }

  write(bytes: Uint8Array | string, isShared = false): boolean {
    const writer = this.#suitableWriter()
    const isGathered = typeof bytes === 'string' && writer === undefined && this.#mayGather
    if (this.#text !== '' && !isGathered) this.flush()
    if (isGathered) this.#gather(bytes)
    else if (writer === undefined) {
      const res = this.#res
      // A copy, because the response may keep the bytes, and the caller uses its buffer again.
      const kept = typeof bytes === 'string' || isShared ? bytes : Buffer.from(bytes)
      this.#onWritten(res.write(kept), kept.length)
      // Compression middleware adds `flush`, and holds events back until it is called.
      if ('flush' in res && typeof res.flush === 'function') res.flush()
    } else if (typeof bytes === 'string') writer.writeText(bytes)
    else if (isShared) writer.writeShared(bytes)
    else writer.write(bytes)
    return this.#buffered < highWaterMark
  }

  end(last?: string): void {
    this.flush()
    this.#writer?.flush()
    if (last === undefined) this.#res.end()
    else this.#res.end(last)
  }

  break(error: Error): void {
    this.flush()
    this.#writer?.flush()
    breakOff(this.#res, error)
  }

  /** Writes the text of the turn. */
  flush(): void {
    const text = this.#text
    this.#text = ''
    if (text !== '' && !this.#res.destroyed && !this.#res.writableEnded) this.write(Buffer.from(text))
  }

  /** Whether `write` cannot throw, so that it may be called where no caller catches the error: middleware has not replaced it. */
  get #mayGather(): boolean {
    return this.#res.write === OutgoingMessage.prototype.write
  }

  #gather(text: string): void {
    if (this.#text === '') process.nextTick(flushText, this)
    this.#text += text
    if (this.#text.length >= mostGathered) this.flush()
  }

  callWhenEmpty(): void {
    // The event `drain` will follow.
    if (this.#buffered > 0 || this.#isWaiting) return
    this.#isWaiting = true
    this.flush()
    this.#res.write(nothing, (error) => {
      this.#isWaiting = false
      if (!error) this.#onDrain()
    })
  }

  #onDrain(): void {
    this.#buffered = 0
    this.#listener?.onDrain()
  }

  get #callsBack(): boolean {
    const { write } = this.#res
    return writes.some((known) => known === write)
  }

  /** Looks at the response before each write: middleware may replace its functions at any time. */
  #suitableWriter(): ChunkedWriter | undefined {
    const res = this.#res
    if (this.#fastPath && ChunkedWriter.suits(res) && isWriterProven()) {
      this.#writer ??= new ChunkedWriter(res, (hasRoom, size) => this.#onWritten(hasRoom, size))
      return this.#writer
    }
    this.#writer?.flush()
    return undefined
  }

  #onWritten(hasRoom: boolean, size: number): void {
    if (hasRoom) {
      this.#buffered = 0
      return
    }
    this.#buffered += size
    // Only now: most of thousands of quiet streams never fill their response.
    if (!this.#awaitsDrain) this.#res.on('drain', () => this.#onDrain())
    this.#awaitsDrain = true
  }
}

/**
 * Waits for a response's turn on its connection. A response that waits behind another one (pipelining) has no socket before
 * its turn (RFC 9112, 9.3.2).
 *
 * @returns Undefined when the response's turn has come already.
 */
export function turnOf(res: Writable): Promise<void> | undefined {
  if (!('socket' in res) || res.socket !== null) return undefined
  return new Promise((resolve) => res.once('socket', () => resolve()))
}

/**
 * Calls a function when a response closes, possibly more than once. node:http emits no `close` for a response that waits behind
 * another response on the same connection (pipelining): until its turn, the connection's own event is used.
 *
 * @returns A function that removes the callback.
 */
function onClose(req: object, res: Writable, callback: () => void): () => void {
  res.on('close', callback)
  const hasTurn = 'socket' in res && res.socket !== null
  if (hasTurn) return () => res.off('close', callback)
  const ignoreConnection = onDisconnect(req, callback)
  res.once('socket', ignoreConnection)
  return () => {
    res.off('close', callback).off('socket', ignoreConnection)
    ignoreConnection()
  }
}

/** The members of a response that `breakOff` uses. */
type Breakable = Writable & Pick<DownstreamResponse, 'getHeader'>

/**
 * Cuts a response off visibly (RFC 9112, 8): a chunked body lacks its last chunk, an HTTP/2 stream is reset. A body that
 * ends with its connection (HTTP/1.0) is incomplete only after a TCP reset.
 */
export function breakOff(res: Breakable, error: Error): void {
  // One turn later: destroying the socket would discard the bytes that were written in this turn.
  setImmediate(() => {
    const socket = 'socket' in res ? res.socket : undefined
    const isDelimitedByClose =
      'chunkedEncoding' in res &&
      res.chunkedEncoding === false &&
      res.getHeader('content-length') === undefined
    if (isDelimitedByClose && isResettable(socket)) socket.resetAndDestroy()
    res.destroy(error)
  })
}

/** Only a plain TCP socket can be reset; over TLS the missing close_notify shows the cut. */
function isResettable(socket: unknown): socket is { resetAndDestroy(): void } {
  return (
    typeof socket === 'object' &&
    socket !== null &&
    'resetAndDestroy' in socket &&
    typeof socket.resetAndDestroy === 'function' &&
    !('encrypted' in socket && socket.encrypted === true)
  )
}
