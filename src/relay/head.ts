import { STATUS_CODES } from 'node:http'
import { type HeaderFields, SseError, type SseErrorCode } from '../errors.ts'
import { endToEndFields, fieldOf } from '../http/fields.ts'
import { isEventStream, mediaTypeOf } from '../http/media-type.ts'
import { isRetryable } from '../reconnect/delay.ts'
import type { Answer, Downstream, ResponseFields } from './downstream.ts'

/**
 * The header fields of an event stream. The last valid content type and the cache directives of the caller or the upstream are
 * kept. `no-transform` is added because compression middleware would delay events; `x-accel-buffering: no` keeps nginx from
 * buffering them.
 *
 * @param upstream - The upstream's header fields, if they are known.
 */
export function streamFields(downstream: Downstream, upstream: HeaderFields = {}): ResponseFields {
  const lines = upstream['cache-control'] ?? 'no-cache'
  const types = [downstream.field('content-type'), upstream['content-type']]
  const directives =
    downstream.field('cache-control') ?? (typeof lines === 'string' ? lines : lines.join(', '))
  const isKept = /(^|,)\s*no-transform\s*(,|$)/i.test(directives)
  return new Map([
    ['content-type', mediaTypeOf(types.find(isEventStream))?.text ?? 'text/event-stream'],
    ['cache-control', isKept ? directives : `${directives}, no-transform`],
    ['x-accel-buffering', downstream.field('x-accel-buffering') ?? 'no'],
  ])
}

/** Fields about one body, the time of one response, or one client (RFC 6265, 4.1; RFC 9110, 11.6.3). */
const fieldsOfOneResponse: readonly string[] = [
  'content-length',
  'content-encoding',
  'date',
  'age',
  'set-cookie',
  'set-cookie2',
  'authentication-info',
]

/** The fields of an upstream's response that hold for every client of its stream. */
export function sharedFields(upstream: HeaderFields): ResponseFields {
  const lines = Object.entries(upstream).flatMap(([name, value = []]) =>
    [value].flat().flatMap((line) => [name, line]),
  )
  return new Map(
    [...endToEndFields(lines)]
      .map(([name, values]) => [name, values.join(', ')] as const)
      .filter(([name, value]) => !fieldsOfOneResponse.includes(name) && isWritable(value)),
  )
}

/**
 * The answer to a client whose stream has failed before its head was sent.
 *
 * @example
 * ```ts
 * import type { Refusal, RelayOptions } from 'resilient-sse'
 *
 * const refusal = ({ message }: Error): Refusal => ({
 *   status: 503,
 *   headers: { 'content-type': 'application/json' },
 *   body: JSON.stringify({ message }),
 * })
 * const options: RelayOptions = { refusal }
 * ```
 */
export interface Refusal {
  /** The status code, from 400 to 599. */
  readonly status: number
  /** Header fields. Default: no fields besides those of the default body. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** The body. Default: the status as plain text. */
  readonly body?: string | Uint8Array | undefined
}

/** Fields of the upstream's refusal that are passed on: a client needs them to retry, to authenticate or to report. */
const refusalFields = /^(retry-after|retry-after-ms|www-authenticate|x-request-id|x-ratelimit-.+)$/

/** Statuses whose body is not passed on: the body may describe this server's own credentials. */
const aboutCredentials: readonly number[] = [401, 403, 407]

/** The answer to a client whose stream has failed before its head was sent. */
export function answerTo(error: Error, refusal: Refusal | undefined): Answer {
  if (refusal) {
    const { status, headers = {}, body } = refusal
    const fields = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
    return body === undefined ? textAnswer(status, fields) : { status, fields, body }
  }
  const status = statusOf(error)
  const { headers = {}, body, retryAfter } = failureOf(error)
  const fields = fieldsToPassOn(headers)
  if (status === 503 && retryAfter !== undefined && !fields.has('retry-after'))
    fields.set('retry-after', String(Math.ceil(retryAfter / 1000)))
  if (body === undefined || body.length === 0 || aboutCredentials.includes(status))
    return textAnswer(status, fields)
  const type = fieldOf(headers, 'content-type')
  if (isWritable(type)) fields.set('content-type', type)
  return { status, fields: fields.set('cache-control', 'no-store'), body }
}

/** The fields of the upstream's refusal that a client gets. */
export function fieldsToPassOn(headers: HeaderFields): Map<string, string> {
  const fields = new Map<string, string>()
  for (const name of Object.keys(headers)) {
    const value = fieldOf(headers, name)
    if (refusalFields.test(name) && isWritable(value)) fields.set(name, value)
  }
  return fields
}

/** An answer whose body is its status as plain text. */
function textAnswer(status: number, fields: ResponseFields): Answer {
  return {
    status,
    fields: new Map([
      ['content-type', 'text/plain; charset=utf-8'],
      ['cache-control', 'no-store'],
      ...fields,
    ]),
    body: `${status} ${STATUS_CODES[status] ?? 'Error'}\n`,
  }
}

/** The statuses of failures of shared streams. */
const statusesOfHub: Partial<Record<SseErrorCode, number>> = {
  ERR_SSE_STORE: 503,
  ERR_SSE_HUB_CLOSED: 503,
  ERR_SSE_STREAM_UNKNOWN: 404,
  ERR_SSE_STREAM_GONE: 410,
}

/** The upstream's own status, or that of a gateway: 502 or 504 (RFC 9110, 15.6.3 and 15.6.5), and 503 after an abort. */
function statusOf(error: Error): number {
  const { code, statusCode = 0 } = failureOf(error)
  if (code === undefined) return 503
  if (code === 'ERR_SSE_STATUS' && statusCode >= 400 && statusCode <= 599) return statusCode
  const byDefault = code === 'ERR_SSE_CONNECT_TIMEOUT' || code === 'ERR_SSE_IDLE_TIMEOUT' ? 504 : 502
  return statusesOfHub[code] ?? byDefault
}

/** The error itself, or the cause of an `ERR_SSE_RETRIES_EXHAUSTED`; empty for an error other than {@link SseError}. */
export function failureOf(error: Error): Partial<SseError> {
  if (!(error instanceof SseError)) return {}
  const { code, cause } = error
  return code === 'ERR_SSE_RETRIES_EXHAUSTED' && cause instanceof SseError ? failureOf(cause) : error
}

/** The error, if a function of the caller has thrown it; undefined for a failure of the upstream and for an abort. */
export function faultOf(error: Error): Error | undefined {
  return error instanceof SseError || error.name === 'AbortError' ? undefined : error
}

/** Whether the same request may succeed later. */
export function isTransient(error: Error): boolean {
  if (!(error instanceof SseError) || statusesOfHub[error.code] === 503) return true
  return error.code === 'ERR_SSE_RETRIES_EXHAUSTED' || isRetryable(error, { passedOn: false, once: false })
}

/** Whether node:http accepts a field value (RFC 9110, 5.5): a lenient parser or a factory may have let in others. */
function isWritable(value: string | undefined): value is string {
  return value !== undefined && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)
}
