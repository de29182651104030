import { EventEmitter } from 'node:events'
import { Readable, type Writable } from 'node:stream'
import { hasDisconnected, onDisconnect } from './client.ts'
import type { Answer, Downstream, DownstreamListener, ResponseFields } from './downstream.ts'

/** What is used of a response of node:http, node:https or node:http2. */
export type DownstreamResponse = Writable & {
  statusCode: number
  readonly headersSent: boolean
  getHeader(name: string): number | string | string[] | undefined
  setHeader(name: string, value: string): unknown
  removeHeader(name: string): void
  flushHeaders?(): void
}

/**
 * A response that is full gets this many bytes more before the upstream is stopped: as a rule it is empty again within
 * the same turn, and stopping and starting for each chunk costs more than all else.
 */
const mostBehind = 65_536

/** A response of node:http, node:https or node:http2, or a framework's around it. */
export class NodeResponse implements Downstream {
  readonly #req: object
  readonly #res: DownstreamResponse
  /** Bytes written since the response was full. */
  #behind = 0

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
    return this.#behind > 0
  }

  field(name: string): string | undefined {
    const value = this.#res.getHeader(name)
    return value === undefined ? undefined : String(value)
  }

  listen(listener: DownstreamListener): void {
    const res = this.#res
    // What a client does wrong, such as an EPIPE, is followed by a close, and the close is what counts.
    res.on('error', () => {})
    if (this.#req instanceof EventEmitter) this.#req.on('error', () => {})
    res.on('drain', () => {
      this.#behind = 0
      listener.onDrain()
    })
    const release = onDisconnect(this.#req, () => listener.onClose())
    res.once('finish', () => {
      release()
      listener.onFinish()
    })
    res.once('close', () => {
      release()
      listener.onClose()
    })
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
    if (res.write(bytes)) this.#behind = 0
    else this.#behind += bytes.length
    // What compression middleware adds.
    if ('flush' in res && typeof res.flush === 'function') res.flush()
    return this.#behind < mostBehind
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
 * Resolves when it is a response's turn on its connection; undefined where its turn has come. A response behind another
 * one (pipelining) has no socket before (RFC 9112, 9.3.2).
 */
export function turnOf(res: Writable): Promise<void> | undefined {
  if (!('socket' in res) || res.socket !== null) return undefined
  return new Promise((resolve) => res.once('socket', () => resolve()))
}

/** What is used of a response that is to be broken off. */
type Breakable = Writable & Pick<DownstreamResponse, 'getHeader'>

/**
 * Breaks a response off, so that its client can tell. Chunked, the last chunk is missing; over HTTP/2 the stream is reset.
 * A body that ends with its connection (HTTP/1.0) looks complete unless the connection is reset (RFC 9112, 6.3 and 8).
 */
export function breakOff(res: Breakable, error: Error): void {
  // A turn later: what was written in this turn waits in the socket, which would discard it.
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

/** Only a plain TCP socket can be reset; over TLS the missing close_notify says the same. */
function isResettable(socket: unknown): socket is { resetAndDestroy(): void } {
  return (
    typeof socket === 'object' &&
    socket !== null &&
    'resetAndDestroy' in socket &&
    typeof socket.resetAndDestroy === 'function' &&
    !('encrypted' in socket && socket.encrypted === true)
  )
}
