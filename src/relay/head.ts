import { STATUS_CODES } from 'node:http'
import type { Writable } from 'node:stream'
import { type HeaderFields, SseError } from '../errors.ts'
import { fieldOf } from '../http/fields.ts'

/** What is used of a response of node:http, node:https or node:http2. */
export type DownstreamResponse = Writable & {
  statusCode: number
  readonly headersSent: boolean
  setHeader(name: string, value: string): unknown
  flushHeaders?(): void
}

/** `no-transform` keeps compression from holding events back, `x-accel-buffering` does so for nginx. */
export const streamHeaders = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
}

/** Answers with an event stream; its head goes out at once. */
export function openHead(res: DownstreamResponse): void {
  if (res.headersSent) return
  res.statusCode = 200
  for (const [name, value] of Object.entries(streamHeaders)) res.setHeader(name, value)
  res.flushHeaders?.()
}

/** Fields of the upstream's refusal that its client needs to act on it. */
const refusalFields = ['retry-after', 'retry-after-ms', 'www-authenticate']

/** Answers with a failure: a status, what the client needs to act on it, and a short body. */
export function refuse(res: DownstreamResponse, error: Error): void {
  const { statusCode, headers } = refusalOf(error)
  for (const name of refusalFields) {
    const value = headers && fieldOf(headers, name)
    // A lenient parser, or a factory that made it up, may have let in what cannot be written (RFC 9110, 5.5).
    if (value !== undefined && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)) res.setHeader(name, value)
  }
  res.statusCode = statusCode
  res.setHeader('content-type', 'text/plain; charset=utf-8')
  res.setHeader('cache-control', 'no-store')
  res.end(`${statusCode} ${STATUS_CODES[statusCode] ?? 'Error'}\n`)
}

/** What the client is answered: the upstream's own refusal, or what a gateway says (RFC 9110, 15.6.3 and 15.6.5). */
function refusalOf(error: Error): { statusCode: number; headers?: HeaderFields | undefined } {
  if (!(error instanceof SseError)) return { statusCode: 503 }
  const { code, statusCode = 0, headers, cause } = error
  if (code === 'ERR_SSE_RETRIES_EXHAUSTED' && cause instanceof SseError) return refusalOf(cause)
  if (code === 'ERR_SSE_STATUS' && statusCode >= 400 && statusCode <= 599) return { statusCode, headers }
  if (code === 'ERR_SSE_CONNECT_TIMEOUT' || code === 'ERR_SSE_IDLE_TIMEOUT') return { statusCode: 504 }
  return { statusCode: 502 }
}
