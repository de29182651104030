import { STATUS_CODES } from 'node:http'
import { type HeaderFields, SseError } from '../errors.ts'
import { fieldOf } from '../http/fields.ts'
import { isEventStream } from '../http/media-type.ts'
import type { Answer, Downstream, ResponseFields } from './downstream.ts'

/**
 * The head of an event stream. What the caller or the upstream has said stays: parameters of the content type, cache
 * directives. `no-transform` keeps compression from holding events back, and `x-accel-buffering` does so for nginx.
 *
 * @param upstream - The upstream's header fields, where they are known by now.
 */
export function streamFields(downstream: Downstream, upstream: HeaderFields = {}): ResponseFields {
  const lines = upstream['cache-control'] ?? 'no-cache'
  const types = [downstream.field('content-type'), fieldOf(upstream, 'content-type')]
  const directives =
    downstream.field('cache-control') ?? (typeof lines === 'string' ? lines : lines.join(', '))
  const isKept = /(^|,)\s*no-transform\s*(,|$)/i.test(directives)
  return new Map([
    ['content-type', types.find((type) => isEventStream(type)) ?? 'text/event-stream'],
    ['cache-control', isKept ? directives : `${directives}, no-transform`],
    ['x-accel-buffering', downstream.field('x-accel-buffering') ?? 'no'],
  ])
}

/** What a client is answered in place of a failed stream. */
export interface Refusal {
  /** From 400 to 599. */
  readonly status: number
  /** Default: none but those of the body. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Default: the status as text. */
  readonly body?: string | Uint8Array | undefined
}

/** Fields of the upstream's refusal that its client needs to act on it, or to report it. */
const refusalFields = /^(retry-after|retry-after-ms|www-authenticate|x-request-id|x-ratelimit-.+)$/

/** Refusals whose body speaks of the credentials that we have sent, which the client does not know. */
const aboutCredentials: readonly number[] = [401, 403, 407]

/** The answer to a client whose stream has failed before its head was out. */
export function answerTo(error: Error, refusal: Refusal | undefined): Answer {
  if (refusal) {
    const { status, headers = {}, body } = refusal
    const fields = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
    return body === undefined ? textAnswer(status, fields) : { status, fields, body }
  }
  const status = statusOf(error)
  const { headers = {}, body } = failureOf(error)
  const fields = new Map<string, string>()
  for (const name of Object.keys(headers)) {
    const value = fieldOf(headers, name)
    if (refusalFields.test(name) && isWritable(value)) fields.set(name, value)
  }
  if (body === undefined || body.length === 0 || aboutCredentials.includes(status))
    return textAnswer(status, fields)
  const type = fieldOf(headers, 'content-type')
  if (isWritable(type)) fields.set('content-type', type)
  return { status, fields: fields.set('cache-control', 'no-store'), body }
}

/** A short text that names the status, with some fields besides. */
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

/** The upstream's own status, or what a gateway says (RFC 9110, 15.6.3 and 15.6.5). */
function statusOf(error: Error): number {
  const { code, statusCode = 0 } = failureOf(error)
  if (code === undefined) return 503
  if (code === 'ERR_SSE_STATUS' && statusCode >= 400 && statusCode <= 599) return statusCode
  return code === 'ERR_SSE_CONNECT_TIMEOUT' || code === 'ERR_SSE_IDLE_TIMEOUT' ? 504 : 502
}

/** The failure behind an error that says that retries are exhausted. */
export function failureOf(error: Error): Partial<SseError> {
  if (!(error instanceof SseError)) return {}
  const { code, cause } = error
  return code === 'ERR_SSE_RETRIES_EXHAUSTED' && cause instanceof SseError ? failureOf(cause) : error
}

/** A lenient parser, or a factory that made it up, may have let in what cannot be written (RFC 9110, 5.5). */
function isWritable(value: string | undefined): value is string {
  return value !== undefined && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)
}
