import { finished, type Readable } from 'node:stream'
import type { DropReason } from '../diagnostics.ts'
import { asError, SseError, textOf } from '../errors.ts'
import { Deadline } from '../http/deadline.ts'
import { fieldOf, retryAfterOf } from '../http/fields.ts'
import { isEventStream } from '../http/media-type.ts'
import {
  decodeBody,
  discardBody,
  discardUpstream,
  isDecodable,
  type OpenedUpstream,
  openUpstream,
  type Upstream,
} from './shapes.ts'

/** How a connection is no more. */
export interface Drop {
  readonly reason: DropReason
  readonly error: SseError
}

/** What an attempt needs. */
export interface DialOptions {
  /** Most milliseconds until the response's head; 0 means no limit. */
  readonly connectTimeout: number
  /** Most milliseconds without a sign of life once it is open; 0 means no limit. */
  readonly idleTimeout: number
  /** Ends the attempt; aborted also when its connection ends otherwise than cleanly. */
  readonly controller: AbortController
}

/**
 * One attempt: takes the upstream, or calls the function that opens it, and checks what it says.
 *
 * @returns The connection, or undefined when the upstream says that there is no more (204).
 * @throws {@link SseError} `ERR_SSE_CONNECT`, `ERR_SSE_CONNECT_TIMEOUT`, `ERR_SSE_STATUS`, `ERR_SSE_CONTENT_TYPE`;
 * `TypeError` when it gives something that is no upstream; the reason with which the controller was aborted.
 */
export async function dial(
  upstream: OpenedUpstream | ((signal: AbortSignal) => Upstream | Promise<Upstream>),
  options: DialOptions,
): Promise<Connection | undefined> {
  const { controller } = options
  try {
    const opened =
      typeof upstream === 'function'
        ? openUpstream(await answerOf(upstream, options.connectTimeout, controller))
        : upstream
    if (!isOpen(opened)) {
      discardBody(opened.body)
      return undefined
    }
    return new Connection(opened, options.idleTimeout, (error, cleanEnd) => {
      // After a clean end there is nothing to abort, and the socket may serve another request.
      if (!cleanEnd) controller.abort(error)
    })
  } catch (error) {
    controller.abort(error)
    throw error
  }
}

/** What `open` resolves with, unless the time is over or the signal aborted before: then that is discarded later. */
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
    new Promise<Upstream>((answer) => answer(open(signal))).then(
      (upstream) => (signal.aborted ? discardUpstream(upstream) : settle(() => resolve(upstream))),
      (cause: unknown) => settle(() => reject(connectError(cause))),
    )
  })
}

function connectError(cause: unknown): SseError {
  const reason = cause instanceof Error ? cause.message || cause.name : textOf(cause)
  return new SseError('ERR_SSE_CONNECT', `the upstream could not be reached: ${reason}`, { cause })
}

/** Whether there is an event stream to read; not so for a 204. Throws, and closes the body, for any other answer. */
function isOpen({ statusCode, headers, body, encodings }: OpenedUpstream): boolean {
  if (statusCode === undefined) return true
  if (statusCode === 204) return false
  const contentType = fieldOf(headers, 'content-type')
  if (statusCode === 200 && isEventStream(contentType) && isDecodable(encodings)) return true
  discardBody(body)
  if (statusCode !== 200) {
    const retryAfter = retryAfterOf(headers, Date.now())
    throw new SseError('ERR_SSE_STATUS', `the upstream answered ${statusCode}`, {
      statusCode,
      headers,
      ...(retryAfter !== undefined && { retryAfter }),
    })
  }
  const got = isEventStream(contentType)
    ? `content-encoding ${encodings.join(', ')}`
    : `content-type ${contentType ?? '(none)'}`
  throw new SseError(
    'ERR_SSE_CONTENT_TYPE',
    `the upstream answered with ${got}, not with a readable text/event-stream`,
    {
      statusCode,
      headers,
    },
  )
}

type OnClose = (error: Error | undefined, cleanEnd: boolean) => void

/** An open connection: its bytes, and the one reason why they end. */
export class Connection {
  /** The URL that answered, where it is known. */
  readonly url: string | undefined
  /** When it opened, on the clock of `performance.now()`. */
  readonly openedAt = performance.now()
  readonly #upstreamBody: Readable
  readonly #body: Readable
  readonly #idleTimeout: number
  readonly #onClose: OnClose
  #deadline: Deadline | undefined
  #paused = false
  #closed = false
  #settle: (error: Error | undefined, drop: Drop | undefined) => void = () => {}

  /** @param onClose - Called once. */
  constructor(upstream: OpenedUpstream, idleTimeout: number, onClose: OnClose) {
    this.url = upstream.url
    this.#upstreamBody = upstream.body
    this.#body = decodeBody(upstream.body, upstream.encodings)
    this.#idleTimeout = idleTimeout
    this.#onClose = onClose
  }

  /**
   * Hands on the body's chunks until it ends, however that comes about; settles once. A body may fire end, close,
   * error and aborted for the same drop.
   *
   * @param onChunk - Called with each chunk; what it throws closes the connection.
   * @returns How it was lost, or undefined when it was closed from here.
   * @throws What `onChunk` threw, or {@link close} was given.
   */
  read(onChunk: (chunk: unknown) => void): Promise<Drop | undefined> {
    const body = this.#body
    if (this.#closed) return Promise.resolve(undefined)
    return new Promise((resolve, reject) => {
      this.#settle = (error, drop) => (error && !drop ? reject(error) : resolve(drop))
      const onEnd = () => this.#drop('end', new SseError('ERR_SSE_DROPPED', 'the upstream ended the stream'))
      body.on('error', () => {})
      body.once('end', onEnd)
      // Everything else, also a body that was over before anybody listened.
      finished(body, { writable: false }, (cause) => {
        if (!cause && body.readableEnded) onEnd()
        else this.#drop('reset', droppedError(cause))
      })
      this.#deadline = new Deadline(this.#idleTimeout, () => this.#onIdle())
      body.on('data', (chunk) => {
        if (this.#closed) return
        try {
          onChunk(chunk)
        } catch (error) {
          this.close(asError(error))
        }
      })
      if (this.#paused) body.pause()
      else body.resume()
    })
  }

  /** Notes a sign of life: the idle time starts anew. */
  touch(): void {
    if (!this.#closed) this.#deadline?.refresh()
  }

  /** Stops the upstream; what it has sent already waits in the sockets' buffers. */
  pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#body.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.touch()
    this.#body.resume()
  }

  /** Closes the connection; no chunk is handed on after. */
  close(error?: Error): void {
    this.#end(error)
  }

  #onIdle(): void {
    // While we do not read, the silence is ours.
    if (this.#paused) return
    this.#drop(
      'idle-timeout',
      new SseError('ERR_SSE_IDLE_TIMEOUT', `the upstream was silent for ${this.#idleTimeout} ms`),
    )
  }

  #drop(reason: DropReason, error: SseError): void {
    this.#end(reason === 'end' ? undefined : error, { reason, error })
  }

  #end(error: Error | undefined, drop?: Drop): void {
    if (this.#closed) return
    this.#closed = true
    this.#deadline?.clear()
    discardBody(this.#body)
    discardBody(this.#upstreamBody)
    this.#onClose(error, drop?.reason === 'end')
    this.#settle(error, drop)
  }
}

function droppedError(cause: unknown): SseError {
  const reason = cause instanceof Error ? `: ${cause.message}` : ''
  return new SseError(
    'ERR_SSE_DROPPED',
    `the upstream dropped the connection${reason}`,
    cause ? { cause } : {},
  )
}
