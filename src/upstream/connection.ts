import { Readable } from 'node:stream'
import type { DropReason } from '../diagnostics.ts'
import { asError, type HeaderFields, reasonOf, SseError } from '../errors.ts'
import type { CancelSignal } from '../http/cancellation.ts'
import { Deadline } from '../http/deadline.ts'
import type { DirectBody, DirectReader } from '../http/direct-body.ts'
import { directBodyOf } from '../http/direct-socket.ts'
import { decodeBody } from './decode.ts'
import { http2Response, isHttp2Stream } from './http2-stream.ts'
import { isOpen, refusalOf } from './refusal.ts'
import {
  bytesOf,
  discardBody,
  discardUpstream,
  type OpenedUpstream,
  openUpstream,
  type Upstream,
} from './shapes.ts'

/** How an open connection was lost. */
export interface Drop {
  readonly reason: DropReason
  readonly error: SseError
}

/** The members of an AbortController that an attempt uses. */
interface AttemptController {
  readonly signal: CancelSignal
  abort(reason: unknown): void
}

/** What an attempt needs. */
export interface DialOptions {
  /** The most milliseconds until the response's head; 0 means no limit. */
  readonly connectTimeout: number
  /** The most milliseconds that the open connection may be silent; 0 means no limit. */
  readonly idleTimeout: number
  /** Whether the body may bypass node:http. Default true. */
  readonly fastPath?: boolean
  /** Aborting it ends the attempt and its connection. A failed attempt aborts it too. */
  readonly controller: AttemptController
}

/**
 * Makes one attempt: opens the upstream, unless it is already open, and checks the answer.
 *
 * @returns The connection, or undefined for a 204, after which no event follows.
 * @throws {@link SseError} `ERR_SSE_CONNECT`, `ERR_SSE_CONNECT_TIMEOUT`, `ERR_SSE_STATUS`, `ERR_SSE_CONTENT_TYPE`;
 * `TypeError` for a value that is not an upstream; the reason with which the controller was aborted.
 */
export async function dial(
  upstream: OpenedUpstream | ((signal: CancelSignal) => Upstream | Promise<Upstream>),
  { connectTimeout, idleTimeout, fastPath = true, controller }: DialOptions,
): Promise<Connection | undefined> {
  try {
    const opened =
      typeof upstream === 'function'
        ? openUpstream(await answerOf(upstream, connectTimeout, controller))
        : upstream
    if (isOpen(opened)) return new Connection(opened, idleTimeout, fastPath)
    if (opened.statusCode !== 204) throw await refusalOf(opened, controller.signal)
    discardBody(opened.body)
    return undefined
  } catch (error) {
    controller.abort(error)
    throw error
  }
}

/** The upstream that `open` returns. Rejects after the timeout and when the signal is aborted; a late upstream is then discarded. */
function answerOf(
  open: (signal: CancelSignal) => Upstream | Promise<Upstream>,
  timeout: number,
  controller: AttemptController,
): Promise<Upstream> {
  const { signal } = controller
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      deadline.clear()
      signal.removeEventListener('abort', onAbort)
      act()
    }
    const onAbort = () => settle(() => reject(signal.reason))
    const deadline = new Deadline(timeout, abortLate, controller)
    signal.addEventListener('abort', onAbort)
    // The promise also catches an error that the factory throws.
    const opening = new Promise<Upstream>((answer) => answer(open(signal)))
    opening
      .then((upstream) => headOf(upstream, signal))
      .then(
        (upstream) => (signal.aborted ? discardUpstream(upstream) : settle(() => resolve(upstream))),
        (cause: unknown) => settle(() => reject(connectError(cause))),
      )
  })
}

function abortLate(controller: AttemptController, limit: number): void {
  controller.abort(new SseError('ERR_SSE_CONNECT_TIMEOUT', `the upstream gave no answer within ${limit} ms`))
}

function headOf(upstream: Upstream, signal: CancelSignal): Upstream | Promise<Upstream> {
  const isStream = upstream instanceof Readable && isHttp2Stream(upstream)
  return isStream ? http2Response(upstream, signal) : upstream
}

/** The error of an attempt whose factory has thrown `cause`. */
function connectError(cause: unknown): Error {
  if (cause instanceof Error && (cause instanceof SseError || isFault(cause))) return cause
  return new SseError('ERR_SSE_CONNECT', `the upstream could not be reached: ${reasonOf(cause)}`, { cause })
}

/** Whether an error shows a mistake in code, so that another attempt would fail too. The TypeErrors of fetch have a cause. */
function isFault(error: Error): boolean {
  if (error instanceof ReferenceError || error instanceof SyntaxError) return true
  // A TypeError of Node, such as ERR_HTTP_INVALID_HEADER_VALUE, is about an argument. One with another code, as ECONNRESET, is not Node's.
  const code = 'code' in error && typeof error.code === 'string' ? error.code : 'ERR_'
  if (code.startsWith('ERR_INVALID_')) return true
  return error instanceof TypeError && error.cause === undefined && code.startsWith('ERR_')
}

/** Receives the bytes of a connection, and the reason why they end. */
export interface ConnectionReader {
  /** @param chunk - Valid during the call only. */
  onChunk(chunk: Buffer): void
  /** Called once when the connection is lost, but not after `close()`. No chunk follows. */
  onDrop(drop: Drop): void
  /** Called once, instead of `onDrop`, with the error that `onChunk` threw. No chunk follows. */
  onFault(error: Error): void
}

/** An open connection: passes its bytes on, and the one reason why they end. */
export class Connection implements DirectReader {
  /** The URL that answered, if it is known. */
  readonly url: string | undefined
  readonly headers: HeaderFields
  /** When the connection opened, on the clock of `performance.now()`. */
  readonly openedAt = performance.now()
  readonly #upstreamBody: Readable
  readonly #body: Readable
  readonly #idleTimeout: number
  readonly #isCut: () => boolean
  readonly #fastPath: boolean
  /** The body, if it bypasses node:http. */
  #direct: DirectBody | undefined
  #reader: ConnectionReader | undefined
  #deadline: Deadline<Connection> | undefined
  #isClosed = false

  constructor(upstream: OpenedUpstream, idleTimeout: number, fastPath: boolean) {
    this.url = upstream.url
    this.headers = upstream.headers
    this.#upstreamBody = upstream.body
    this.#body = decodeBody(upstream.body, upstream.encodings)
    this.#isCut = upstream.isCut
    this.#idleTimeout = idleTimeout
    this.#fastPath = fastPath
  }

  /** How long the connection has been open, in milliseconds. */
  get openFor(): number {
    return performance.now() - this.openedAt
  }

  /**
   * Passes the body's chunks on until the body ends or fails. The reader gets one drop, although a body may emit end, error and
   * close for the same drop.
   *
   * `finished` of node:stream is not used: its listeners hold 1.5 kB for each open stream.
   */
  read(reader: ConnectionReader): void {
    if (this.#isClosed) return
    this.#reader = reader
    const body = this.#body
    body.on('end', this.#onEnd).on('error', this.#onLost).on('close', this.#onLost)
    // A body that was over before the listeners were added emits no further event.
    if (body.readableEnded) process.nextTick(this.#onEnd)
    else if (body.destroyed || body.errored) process.nextTick(this.#onLost)
    this.#deadline = new Deadline<Connection>(this.#idleTimeout, Connection.#onIdle, this)
    this.#direct = this.#fastPath ? directBodyOf(body) : undefined
    if (this.#direct) this.#direct.read(this)
    else body.on('data', this.onBytes.bind(this))
    body.resume()
  }

  /** Restarts the idle timeout. */
  touch(): void {
    if (!this.#isClosed) this.#deadline?.refresh()
  }

  /** Stops reading. Bytes that the upstream has sent wait in the buffers of the sockets. */
  pause(): void {
    this.#body.pause()
    this.#direct?.pause()
  }

  resume(): void {
    if (this.#isClosed || !this.#body.isPaused()) return
    this.touch()
    this.#body.resume()
    this.#direct?.resume()
  }

  /** Closes the connection. Its reader is no longer called. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#deadline?.clear()
    discardBody(this.#body)
    discardBody(this.#upstreamBody)
  }

  /** Called for each chunk of the body. */
  onBytes(chunk: unknown): void {
    if (this.#isClosed) return
    try {
      this.#reader?.onChunk(bytesOf(chunk))
    } catch (error) {
      this.close()
      this.#reader?.onFault(asError(error))
    }
  }

  readonly #onEnd = () => {
    if (this.#isClosed) return
    if (this.#isCut()) this.#drop('reset', droppedError(new Error('its HTTP/2 stream has no END_STREAM')))
    else this.#drop('end', new SseError('ERR_SSE_DROPPED', 'the upstream ended the stream'))
  }

  readonly #onLost = (cause: unknown = this.#body.errored) => {
    // Each body closes after its end, when the drop has been reported.
    if (!this.#isClosed) this.#drop('reset', droppedError(cause))
  }

  static #onIdle(connection: Connection, limit: number): void {
    // A paused connection is silent because it is not read.
    if (connection.#body.isPaused()) return
    const message = `the upstream was silent for ${limit} ms`
    connection.#drop('idle-timeout', new SseError('ERR_SSE_IDLE_TIMEOUT', message))
  }

  #drop(reason: DropReason, error: SseError): void {
    if (this.#isClosed) return
    this.close()
    this.#reader?.onDrop({ reason, error })
  }
}

function droppedError(cause: unknown): SseError {
  const reason = cause instanceof Error ? `: ${reasonOf(cause)}` : ''
  return new SseError(
    'ERR_SSE_DROPPED',
    `the upstream dropped the connection${reason}`,
    cause ? { cause } : {},
  )
}
