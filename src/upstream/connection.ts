import { finished, Readable } from 'node:stream'
import type { DropReason } from '../diagnostics.ts'
import { asError, type HeaderFields, reasonOf, SseError } from '../errors.ts'
import { Deadline } from '../http/deadline.ts'
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

/** What an attempt needs. */
export interface DialOptions {
  /** The most milliseconds until the response's head; 0 means no limit. */
  readonly connectTimeout: number
  /** The most milliseconds without a sign of life once the connection is open; 0 means no limit. */
  readonly idleTimeout: number
  /** Ends the attempt. Aborted also when the attempt fails. */
  readonly controller: AbortController
}

/**
 * One attempt: takes the upstream, or calls the function that opens it, and checks the answer.
 *
 * @returns The connection, or undefined when the upstream says that nothing more follows (204).
 * @throws {@link SseError} `ERR_SSE_CONNECT`, `ERR_SSE_CONNECT_TIMEOUT`, `ERR_SSE_STATUS`, `ERR_SSE_CONTENT_TYPE`;
 * `TypeError` for a value that is not an upstream; the reason with which the controller was aborted.
 */
export async function dial(
  upstream: OpenedUpstream | ((signal: AbortSignal) => Upstream | Promise<Upstream>),
  { connectTimeout, idleTimeout, controller }: DialOptions,
): Promise<Connection | undefined> {
  try {
    const opened =
      typeof upstream === 'function'
        ? openUpstream(await answerOf(upstream, connectTimeout, controller))
        : upstream
    if (isOpen(opened)) return new Connection(opened, idleTimeout)
    if (opened.statusCode !== 204) throw await refusalOf(opened, controller.signal)
    discardBody(opened.body)
    return undefined
  } catch (error) {
    controller.abort(error)
    throw error
  }
}

/** What `open` resolves with, unless the time is over or the signal aborted before: a late upstream is discarded. */
function answerOf(
  open: (signal: AbortSignal) => Upstream | Promise<Upstream>,
  timeout: number,
  controller: AbortController,
): Promise<Upstream> {
  const { signal } = controller
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      deadline.clear()
      signal.removeEventListener('abort', onAbort)
      act()
    }
    const onAbort = () => settle(() => reject(signal.reason))
    const deadline = new Deadline(timeout, () => {
      controller.abort(
        new SseError('ERR_SSE_CONNECT_TIMEOUT', `the upstream gave no answer within ${timeout} ms`),
      )
    })
    signal.addEventListener('abort', onAbort, { once: true })
    // In a promise, so that what the factory throws is caught as well.
    const opening = new Promise<Upstream>((answer) => answer(open(signal)))
    opening
      .then((upstream) => headOf(upstream, signal))
      .then(
        (upstream) => (signal.aborted ? discardUpstream(upstream) : settle(() => resolve(upstream))),
        (cause: unknown) => settle(() => reject(connectError(cause))),
      )
  })
}

function headOf(upstream: Upstream, signal: AbortSignal): Upstream | Promise<Upstream> {
  const isStream = upstream instanceof Readable && isHttp2Stream(upstream)
  return isStream ? http2Response(upstream, signal) : upstream
}

/** What an attempt fails with for what its factory threw. */
function connectError(cause: unknown): Error {
  if (cause instanceof Error && (cause instanceof SseError || isFault(cause))) return cause
  return new SseError('ERR_SSE_CONNECT', `the upstream could not be reached: ${reasonOf(cause)}`, { cause })
}

/** Whether an error says that the code is wrong, which another attempt does not mend; fetch gives its errors a cause. */
function isFault(error: Error): boolean {
  if (error instanceof ReferenceError || error instanceof SyntaxError) return true
  if ('code' in error && typeof error.code === 'string') return error.code.startsWith('ERR_INVALID_')
  return error instanceof TypeError && error.cause === undefined
}

/** Who reads a connection. */
export interface ConnectionReader {
  onChunk(chunk: Buffer): void
  /** Called once, unless the connection was closed from here: no chunk follows. */
  onDrop(drop: Drop): void
  /** Called once, in place of `onDrop`, with what `onChunk` threw: no chunk follows. */
  onFault(error: Error): void
}

/** An open connection: its bytes, and the one reason why they end. */
export class Connection {
  /** The URL that answered, where it is known. */
  readonly url: string | undefined
  readonly headers: HeaderFields
  /** When it opened, on the clock of `performance.now()`. */
  readonly openedAt = performance.now()
  readonly #upstreamBody: Readable
  readonly #body: Readable
  readonly #idleTimeout: number
  readonly #isCut: () => boolean
  #reader: ConnectionReader | undefined
  #deadline: Deadline | undefined
  #isClosed = false

  constructor(upstream: OpenedUpstream, idleTimeout: number) {
    this.url = upstream.url
    this.headers = upstream.headers
    this.#upstreamBody = upstream.body
    this.#body = decodeBody(upstream.body, upstream.encodings)
    this.#isCut = upstream.isCut
    this.#idleTimeout = idleTimeout
  }

  /** How long the connection has been open, in milliseconds. */
  get openFor(): number {
    return performance.now() - this.openedAt
  }

  /**
   * Hands on the body's chunks until it ends, however that comes about. A body may fire end, close, error and aborted for
   * the same drop.
   */
  read(reader: ConnectionReader): void {
    if (this.#isClosed) return
    this.#reader = reader
    const body = this.#body
    body.on('error', () => {})
    body.once('end', () => this.#onEnd())
    // Everything else, also a body that was over before anybody listened.
    finished(body, { writable: false }, (cause) => {
      if (!cause && body.readableEnded) this.#onEnd()
      else this.#drop('reset', droppedError(cause))
    })
    this.#deadline = new Deadline(this.#idleTimeout, () => this.#onIdle())
    body.on('data', this.#onData)
    body.resume()
  }

  /** Notes a sign of life: the idle time starts anew. */
  touch(): void {
    if (!this.#isClosed) this.#deadline?.refresh()
  }

  /** Stops the upstream; what it has sent already waits in the sockets' buffers. */
  pause(): void {
    this.#body.pause()
  }

  resume(): void {
    if (this.#isClosed || !this.#body.isPaused()) return
    this.touch()
    this.#body.resume()
  }

  /** Closes the connection from here; its reader is not called any more. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#deadline?.clear()
    discardBody(this.#body)
    discardBody(this.#upstreamBody)
  }

  readonly #onData = (chunk: unknown) => {
    if (this.#isClosed) return
    try {
      this.#reader?.onChunk(bytesOf(chunk))
    } catch (error) {
      this.close()
      this.#reader?.onFault(asError(error))
    }
  }

  #onEnd(): void {
    if (this.#isCut()) this.#drop('reset', droppedError(new Error('its HTTP/2 stream has no END_STREAM')))
    else this.#drop('end', new SseError('ERR_SSE_DROPPED', 'the upstream ended the stream'))
  }

  #onIdle(): void {
    // While we do not read, the silence is ours.
    if (this.#body.isPaused()) return
    const message = `the upstream was silent for ${this.#idleTimeout} ms`
    this.#drop('idle-timeout', new SseError('ERR_SSE_IDLE_TIMEOUT', message))
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
