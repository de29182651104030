import { emitWarning } from 'node:process'

/** Header fields by name in lower case, as node:http gives them. */
export type HeaderFields = Readonly<Record<string, string | readonly string[] | undefined>>

/** Every code an {@link SseError} may carry. The code, not the message, is the contract. */
export type SseErrorCode =
  | 'ERR_SSE_CONNECT'
  | 'ERR_SSE_CONNECT_TIMEOUT'
  | 'ERR_SSE_STATUS'
  | 'ERR_SSE_CONTENT_TYPE'
  | 'ERR_SSE_DROPPED'
  | 'ERR_SSE_IDLE_TIMEOUT'
  | 'ERR_SSE_EVENT_TOO_LARGE'
  | 'ERR_SSE_NOT_RESUMABLE'
  | 'ERR_SSE_RETRIES_EXHAUSTED'

/** What some codes tell besides their message. */
export interface SseErrorDetails {
  /** What led to this error. */
  cause?: unknown
  /** `ERR_SSE_STATUS` and `ERR_SSE_CONTENT_TYPE`: the upstream's status code. */
  statusCode?: number
  /** `ERR_SSE_STATUS`: how long the upstream asked to be left alone, in milliseconds. */
  retryAfter?: number
  /** `ERR_SSE_STATUS` and `ERR_SSE_CONTENT_TYPE`: the upstream's header fields, names in lower case. */
  headers?: HeaderFields
  /** `ERR_SSE_STATUS` and `ERR_SSE_CONTENT_TYPE`: the first 64 KiB of the body, as far as they came in time. */
  body?: Buffer
  /** `ERR_SSE_CONNECT`: whether the request may have been processed. */
  sent?: boolean
}

/**
 * A failure of an upstream, or of the stream that spans its connections.
 *
 * Its stack has no frames: it is made where a socket or a timer speaks, and they would name nothing of its user's.
 */
export class SseError extends Error {
  override readonly name = 'SseError'
  /** What happened; stable across versions. */
  readonly code: SseErrorCode
  /** `ERR_SSE_STATUS` and `ERR_SSE_CONTENT_TYPE`: the upstream's status code. */
  declare readonly statusCode?: number
  /** `ERR_SSE_STATUS`: how long the upstream asked to be left alone, in milliseconds. */
  declare readonly retryAfter?: number
  /** `ERR_SSE_STATUS` and `ERR_SSE_CONTENT_TYPE`: the upstream's header fields, names in lower case. */
  declare readonly headers?: HeaderFields
  /** `ERR_SSE_STATUS` and `ERR_SSE_CONTENT_TYPE`: the first 64 KiB of the upstream's body, decoded. */
  declare readonly body?: Buffer
  /**
   * `ERR_SSE_CONNECT`: whether the request may have been processed. False when no connection came about, and when an
   * idempotent request (RFC 9110, 9.2.2) met a kept-alive connection that had been closed. Absent when that is not
   * known, as it is for the errors of a factory of one's own.
   */
  declare readonly sent?: boolean

  constructor(code: SseErrorCode, message: string, details: SseErrorDetails = {}) {
    // When an upstream goes, all of its streams fail at once, and frames would cost a tenth of each reconnect. And they would
    // hold on to what they were made of: one attempt would keep the one before through its last error, and that the next.
    // Whatever may throw comes before the limit is touched; Reflect does not where it is frozen.
    const text = String(message)
    const options = 'cause' in details ? { cause: details.cause } : undefined
    const { stackTraceLimit } = Error
    Reflect.set(Error, 'stackTraceLimit', 0)
    super(text, options)
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit)
    this.code = code
    if (details.statusCode !== undefined) this.statusCode = details.statusCode
    if (details.retryAfter !== undefined) this.retryAfter = details.retryAfter
    if (details.sent !== undefined) this.sent = details.sent
    // Not enumerable: loggers write what is, and there may be a `set-cookie` in it.
    if (details.body !== undefined) Object.defineProperty(this, 'body', { value: details.body })
    if (details.headers !== undefined) Object.defineProperty(this, 'headers', { value: details.headers })
  }
}

/** A value as it is named in an error about it. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  return typeof value === 'object' && value !== null ? Object.prototype.toString.call(value) : String(value)
}

/** What was thrown, as an Error; the very same where it is one. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(textOf(thrown), { cause: thrown })
}

/**
 * What a thrown value says of the reason, for the message of the error that it causes. It is never empty: an
 * AggregateError (node's, of a host all of whose addresses failed) has no message of its own, and is told by its errors.
 */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return textOf(thrown) || shown(thrown)
  if (thrown.message !== '') return thrown.message
  if (!(thrown instanceof AggregateError) || thrown.errors.length === 0) return thrown.name || 'Error'
  const errors: readonly unknown[] = thrown.errors
  // All of them say that they could not connect, as does the message around them.
  return errors.map((error) => reasonOf(error).replace(/^connect /, '')).join(', ')
}

/** Anything may be thrown, also what cannot be made a string. */
function textOf(thrown: unknown): string {
  try {
    return String(thrown)
  } catch {
    return Object.prototype.toString.call(thrown)
  }
}

/**
 * Calls a function of the caller's that is only told of an end. There is no stream left that could fail with what it
 * throws, and the process must not: it becomes a warning.
 */
export function callReport(report: () => void): void {
  try {
    report()
  } catch (thrown) {
    emitWarning(asError(thrown))
  }
}
