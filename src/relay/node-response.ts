import { EventEmitter } from 'node:events'
import { Readable, type Writable } from 'node:stream'
import { hasDisconnected, onDisconnect } from './client.ts'
import type { Answer, Downstream, DownstreamListener, ResponseFields } from './downstream.ts'

/** The members of a node:http, node:https or node:http2 response that a relay uses. */
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

function ignore(): void {}

/** A response of node:http, node:https or node:http2, or a framework's wrapper of such a response. */
export class NodeResponse implements Downstream {
  readonly #req: object
  readonly #res: DownstreamResponse
  /** The bytes written since the response became full; 0 after it has drained. */
  #buffered = 0

  constructor(req: object, res: DownstreamResponse) {
    this.#req = req
    this.#res = res
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

  field(name: string): string | undefined {
    const value = this.#res.getHeader(name)
    return value === undefined ? undefined : String(value)
  }

  listen(listener: DownstreamListener): void {
    const res = this.#res
    // Every error of a client, such as EPIPE, is followed by `close`, which is handled below.
    res.on('error', ignore)
    if (this.#req instanceof EventEmitter) this.#req.on('error', ignore)
    res.on('drain', () => {
      this.#buffered = 0
      listener.onDrain()
    })
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

  write(bytes: Uint8Array | string): boolean {
    const res = this.#res
    if (res.write(bytes)) this.#buffered = 0
    else this.#buffered += bytes.length
    // Compression middleware adds `flush`, and holds events back until it is called.
    if ('flush' in res && typeof res.flush === 'function') res.flush()
    return this.#buffered < highWaterMark
  }

  end(last?: string): void {
    if (last === undefined) this.#res.end()
    else this.#res.end(last)
  }

  break(error: Error): void {
    breakOff(this.#res, error)
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
