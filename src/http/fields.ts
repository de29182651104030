import type { OutgoingHttpHeaders } from 'node:http'
import type { HeaderFields } from '../errors.ts'

/** The value of a field; the first one of a repeated field. */
export function fieldOf(headers: HeaderFields, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? value : value?.[0]
}

/**
 * The values of all lines of a field. `headersDistinct` of node:http has the same values, but takes about 1 kB of memory as long
 * as the message lives.
 *
 * @param rawHeaders - Names and values alternately.
 * @param name - In lower case.
 */
export function linesOf(rawHeaders: readonly string[], name: string): string[] {
  return rawHeaders.filter((_, n) => n % 2 === 1 && rawHeaders[n - 1]?.toLowerCase() === name)
}

/**
 * The delay that an upstream asks for, in milliseconds from `now`.
 *
 * `retry-after-ms` (a de-facto field of LLM APIs) is more precise and comes first; then `Retry-After`, as seconds or as an HTTP
 * date.
 *
 * @see RFC 9110, 10.2.3
 */
export function retryAfterOf(headers: HeaderFields, now: number): number | undefined {
  const milliseconds = fieldOf(headers, 'retry-after-ms')?.trim()
  if (milliseconds !== undefined && /^\d+(\.\d+)?$/.test(milliseconds)) return Math.ceil(Number(milliseconds))
  const value = fieldOf(headers, 'retry-after')?.trim()
  if (value === undefined) return undefined
  if (/^\d+(\.\d+)?$/.test(value)) return Math.ceil(Number(value) * 1000)
  if (!httpDate.test(value)) return undefined
  // The oldest form (asctime) has no time zone and means UTC.
  const date = Date.parse(value.endsWith('GMT') ? value : `${value} GMT`)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

/** The three date forms of RFC 9110, 5.6.7; Date.parse alone accepts nearly any text. */
const httpDate =
  /^[A-Z][a-z]{2,8}(, \d\d( [A-Z][a-z]{2} \d{4}|-[A-Z][a-z]{2}-\d\d) \d\d:\d\d:\d\d GMT| [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})$/

/**
 * Encodes an id as the value of a `Last-Event-ID` field: its UTF-8 bytes as one character each, the form in which fetch and
 * node:http accept bytes beyond ASCII.
 *
 * @returns `undefined` for an id that would not arrive unchanged: an empty id; an id with control characters, which a field value
 * must not contain; an id with a space or tab at either end, which a recipient strips (RFC 9110, 5.5); an id with a lone
 * surrogate, which UTF-8 cannot encode.
 *
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model | HTML, 9.2.3}
 */
export function encodeLastEventId(id: string): string | undefined {
  const bytes = Buffer.from(id, 'utf8')
  const value = bytes.toString('latin1')
  const isSendable = /^[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?$/.test(value)
  return isSendable && bytes.toString('utf8') === id ? value : undefined
}

/** A request of node:http or node:http2, a framework's wrapper of such a request, or a fetch-API `Request`. */
export type RequestWithLastEventId =
  | { readonly headers: HeaderFields; readonly url?: string | undefined }
  | { readonly headers: { get(name: string): string | null }; readonly url?: string | undefined }

/**
 * The last event ID that a reconnecting client sends: the `Last-Event-ID` header (its bytes read as UTF-8), or else
 * `?lastEventId=`, `?last_event_id=` or `?last-event-id=` in the URL, for clients that cannot set headers. The case of a
 * parameter's name does not matter (Mercure's is `lastEventID`).
 *
 * @returns `undefined` without an id, and for an id that cannot come from an event stream (with CR, LF or NUL).
 */
export function lastEventIdFrom(request: RequestWithLastEventId): string | undefined {
  const { headers } = request
  const bytes = isFetchHeaders(headers) ? headers.get('last-event-id') : fieldOf(headers, 'last-event-id')
  if (bytes) return validId(Buffer.from(bytes, 'latin1').toString('utf8'))
  const query = request.url?.split('#', 1)[0]?.split('?').slice(1).join('?')
  if (!query) return undefined
  for (const [name, id] of new URLSearchParams(query)) {
    if (id !== '' && /^last(event|_event_|-event-)id$/i.test(name)) return validId(id)
  }
  return undefined
}

/** Whether a string can be written as an event's id. */
export function isWireId(id: string): boolean {
  return !/[\r\n\0]/.test(id)
}

function validId(id: string): string | undefined {
  return id !== '' && isWireId(id) ? id : undefined
}

/** Whether the header fields of a request are a `Headers` object of the fetch API. */
export function isFetchHeaders(
  headers: RequestWithLastEventId['headers'],
): headers is { get(name: string): string | null } {
  return typeof headers.get === 'function'
}

/** The members of a list-valued field, in lower case. */
export function tokensOf(lines: readonly string[] = []): string[] {
  return lines
    .join(',')
    .toLowerCase()
    .split(',')
    .map((token) => token.trim())
    .filter((token) => token !== '')
}

/** Header fields by name in lower case, each with all of its lines. */
export type FieldLines = Map<string, string[]>

/** @param rawHeaders - Names and values alternately, as node:http gives them, so that each line of a repeated field is kept. */
export function fieldLinesOf(rawHeaders: readonly string[]): FieldLines {
  const fields: FieldLines = new Map()
  for (let n = 0; n + 1 < rawHeaders.length; n += 2) {
    const name = (rawHeaders[n] ?? '').toLowerCase()
    const lines = fields.get(name)
    if (lines) lines.push(rawHeaders[n + 1] ?? '')
    else fields.set(name, [rawHeaders[n + 1] ?? ''])
  }
  return fields
}

/** Names and values alternately: a map with its arrays takes five times the memory. */
export function rawHeadersOf(fields: FieldLines): readonly string[] {
  return [...fields].flatMap(([name, [line = '', ...more]]) =>
    [line, ...more].flatMap((each) => [name, each]),
  )
}

/** The hop-by-hop fields of RFC 9110, 7.6.1, and of the standards before it; `trailer`, because trailers are not passed on. */
const hopByHop = [
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
] as const

/** Whether a field frames the body or belongs to one connection. Only the sender of a message may set such a field. */
export function isHopField(name: string): boolean {
  return name === 'content-length' || hopByHop.some((each) => each === name)
}

/**
 * The fields of a message that may be passed on: all but the hop-by-hop fields and those that its `connection` field names. Of
 * `te` only the value `trailers` is passed on.
 *
 * @param rawHeaders - As in {@link fieldLinesOf}.
 * @see RFC 9110, 7.6.1
 */
export function endToEndFields(rawHeaders: readonly string[]): FieldLines {
  const fields = fieldLinesOf(rawHeaders)
  const named = tokensOf(fields.get('connection'))
  const trailers = tokensOf(fields.get('te')).includes('trailers')
  for (const name of [...hopByHop, ...named]) fields.delete(name)
  if (trailers) fields.set('te', ['trailers'])
  return fields
}

/** The fields in the form that node:http sends, with each line kept. */
export function outgoingFields(fields: FieldLines): OutgoingHttpHeaders {
  // node:http accepts only a string for `host`.
  const entries = [...fields].map(([name, [line = '', ...more]]) => [
    name,
    more.length > 0 ? [line, ...more] : line,
  ])
  return Object.fromEntries(entries)
}
