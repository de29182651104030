import { emitWarning } from 'node:process'

/**
 * Header fields by name in lower case, as node:http gives them.
 *
 * @example
 * ```ts
 * import { type HeaderFields, SseError } from 'resilient-sse'
 *
 * const challenge = (headers: HeaderFields = {}) => headers['www-authenticate']
 * const challengeOf = (error: unknown) => (error instanceof SseError ? challenge(error.headers) : undefined)
 * ```
 */
export type HeaderFields = Readonly<Record<string, string | readonly string[] | undefined>>

/**
 * Every code an {@link SseError} may carry. The code, not the message, is the contract.
 *
 * @example
 * ```ts
 * import { SseError, type SseErrorCode } from 'resilient-sse'
 *
 * const ours: readonly SseErrorCode[] = ['ERR_SSE_CONNECT', 'ERR_SSE_CONNECT_TIMEOUT', 'ERR_SSE_RETRIES_EXHAUSTED']
 * const isUnreachable = (error: unknown) => error instanceof SseError && ours.includes(error.code)
 * ```
 */
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
  | 'ERR_SSE_STORE'
  | 'ERR_SSE_STREAM_UNKNOWN'
  | 'ERR_SSE_STREAM_GONE'
  | 'ERR_SSE_STREAM_FAILED'
  | 'ERR_SSE_SLOW_CLIENT'
  | 'ERR_SSE_HUB_CLOSED'

/**
 * Properties of an {@link SseError} besides its code and message.
 *
 * @example
 * ```ts
 * import { SseError, type SseErrorDetails } from 'resilient-sse'
 *
 * const details: SseErrorDetails = { statusCode: 503, retryAfter: 2000 }
 * const error = new SseError('ERR_SSE_STATUS', 'the upstream answered 503', details)
 * ```
 */
export interface SseErrorDetails {
  /** The error that caused this one. */
  cause?: unknown
  /** `ERR_SSE_STATUS` and `ERR_SSE_CONTENT_TYPE`: the upstream's status code. */
  statusCode?: number
  /** `ERR_SSE_STATUS`: the upstream's Retry-After, in milliseconds. */
  retryAfter?: number
  /** `ERR_SSE_STATUS` and `ERR_SSE_CONTENT_TYPE`: the upstream's header fields, names in lower case. */
  headers?: HeaderFields
  /** `ERR_SSE_STATUS`: the first 64 KiB of the body, decoded. */
  body?: Buffer
  /** `ERR_SSE_CONNECT`: whether the request may have been processed. */
  sent?: boolean
}

/**
 * A failure of an upstream, or of the stream that spans its connections.
 *
 * The stack has no frames: the error is made in the callback of a socket or a timer, where no frame is of the caller's code.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, httpUpstream, SseError } from 'resilient-sse'
 *
 * const source = createResilientSseSource(httpUpstream('http://localhost:3000/events'))
 * source.on('error', (error) => {
 *   if (error instanceof SseError && error.code === 'ERR_SSE_STATUS') console.error(error.statusCode)
 * })
 * ```
 */
export class SseError extends Error {
  override readonly name = 'SseError'
  /** The kind of failure; stable across versions. */
  readonly code: SseErrorCode
  /** `ERR_SSE_STATUS` and `ERR_SSE_CONTENT_TYPE`: the upstream's status code. */
  declare readonly statusCode?: number
  /** `ERR_SSE_STATUS`: the upstream's Retry-After, in milliseconds; absent without one. */
  declare readonly retryAfter?: number
  /** `ERR_SSE_STATUS` and `ERR_SSE_CONTENT_TYPE`: the upstream's header fields, names in lower case. */
  declare readonly headers?: HeaderFields
  /**
   * `ERR_SSE_STATUS`: the first 64 KiB of the upstream's body, or the part that arrived within 500 ms after the head. Content
   * codings are decoded; empty when the coding is unknown.
   */
  declare readonly body?: Buffer
  /**
   * `ERR_SSE_CONNECT`: whether the upstream may have processed the request. False when no connection was made, and when
   * an idempotent request (RFC 9110, 9.2.2) was sent on a kept-alive connection that was already closed. Absent when
   * unknown, as for the errors of a factory that does not set it.
   */
  declare readonly sent?: boolean

  constructor(code: SseErrorCode, message: string, details: SseErrorDetails = {}) {
    // Stack frames cost a tenth of a reconnect, and thousands of streams may drop at once. Frames also keep their closures in
    // memory: each attempt would keep the previous one through its `lastError`. `String(message)` and `details.cause` may
    // throw, so they come before the limit is set. Reflect.set does not throw where Error is frozen.
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
    // Not enumerable: loggers write enumerable properties, and these may contain credentials such as `set-cookie`.
    if (details.headers !== undefined) Object.defineProperty(this, 'headers', { value: details.headers })
    if (details.body !== undefined) Object.defineProperty(this, 'body', { value: details.body })
  }
}

const codes: Readonly<Record<SseErrorCode, true>> = {
  ERR_SSE_CONNECT: true,
  ERR_SSE_CONNECT_TIMEOUT: true,
  ERR_SSE_STATUS: true,
  ERR_SSE_CONTENT_TYPE: true,
  ERR_SSE_DROPPED: true,
  ERR_SSE_IDLE_TIMEOUT: true,
  ERR_SSE_EVENT_TOO_LARGE: true,
  ERR_SSE_NOT_RESUMABLE: true,
  ERR_SSE_RETRIES_EXHAUSTED: true,
  ERR_SSE_STORE: true,
  ERR_SSE_STREAM_UNKNOWN: true,
  ERR_SSE_STREAM_GONE: true,
  ERR_SSE_STREAM_FAILED: true,
  ERR_SSE_SLOW_CLIENT: true,
  ERR_SSE_HUB_CLOSED: true,
}

/** Whether a text is a code of an {@link SseError}, for errors that another process has stored. */
export function isErrorCode(text: string): text is SseErrorCode {
  return Object.hasOwn(codes, text)
}

/** A value in the form that error messages show. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  return typeof value === 'object' && value !== null ? Object.prototype.toString.call(value) : String(value)
}

/** Returns an Error unchanged, and wraps any other thrown value in one. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(textOf(thrown), { cause: thrown })
}

/**
 * The message of a thrown value, for the message of an error that has it as its cause. Never empty: for an AggregateError
 * without a message, which Node throws when all addresses of a host fail, the messages of its errors are joined.
 */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return textOf(thrown) || shown(thrown)
  if (thrown.message !== '') return thrown.message
  if (!(thrown instanceof AggregateError) || thrown.errors.length === 0) return thrown.name || 'Error'
  const errors: readonly unknown[] = thrown.errors
  // The surrounding message already says that the connection failed.
  return errors.map((error) => reasonOf(error).replace(/^connect /, '')).join(', ')
}

/** Any value may be thrown, including an object that cannot be converted to a string. */
function textOf(thrown: unknown): string {
  try {
    return String(thrown)
  } catch {
    return Object.prototype.toString.call(thrown)
  }
}

/**
 * Calls a function of the caller after the end of a stream. The stream can no longer fail with an error of the function,
 * and the process must not, so the error becomes a process warning.
 */
export function callReport(report: () => void): void {
  try {
    report()
  } catch (thrown) {
    emitWarning(asError(thrown))
  }
}
