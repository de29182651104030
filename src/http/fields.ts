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
  const lines: string[] = []
  for (let n = 0; n + 1 < rawHeaders.length; n += 2) {
    if (isNamed(rawHeaders[n] ?? '', name)) lines.push(rawHeaders[n + 1] ?? '')
  }
  return lines
}

/** Compares lengths first: a proxy looks at every field of every message. */
function isNamed(given: string, name: string): boolean {
  return given.length === name.length && given.toLowerCase() === name
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
  if (id === '') return undefined
  // Nearly every id, and each reconnect encodes one.
  if (/^[\x21-\x7e]+$/.test(id)) return id
  const bytes = Buffer.from(id, 'utf8')
  const value = bytes.toString('latin1')
  const isSendable = /^[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?$/.test(value)
  return isSendable && bytes.toString('utf8') === id ? value : undefined
}

/**
 * A request of node:http or node:http2, a framework's wrapper of such a request, or a fetch-API `Request`.
 *
 * @example
 * ```ts
 * import { lastEventIdFrom, type RequestWithLastEventId } from 'resilient-sse'
 *
 * const request: RequestWithLastEventId = new Request('http://localhost/events?lastEventId=7')
 * lastEventIdFrom(request) // '7'
 * ```
 */
export type RequestWithLastEventId =
  | { readonly headers: HeaderFields; readonly url?: string | undefined }
  | { readonly headers: { get(name: string): string | null }; readonly url?: string | undefined }

/**
 * The last event ID that a reconnecting client sends: the `Last-Event-ID` header (its bytes read as UTF-8), or else
 * `?lastEventId=`, `?last_event_id=` or `?last-event-id=` in the URL, for clients that cannot set headers. The case of a
 * parameter's name does not matter (Mercure's is `lastEventID`).
 *
 * @returns `undefined` without an id, and for an id that cannot come from an event stream (with CR, LF or NUL).
 *
 * @example
 * ```ts
 * import http from 'node:http'
 * import { lastEventIdFrom } from 'resilient-sse'
 *
 * http.createServer((req, res) => {
 *   const after = Number(lastEventIdFrom(req) ?? 0)
 *   res.writeHead(200, { 'content-type': 'text/event-stream' }).end(`id: ${after + 1}\ndata: next\n\n`)
 * })
 * ```
 */
export function lastEventIdFrom(request: RequestWithLastEventId): string | undefined {
  const { headers } = request
  const bytes = isFetchHeaders(headers) ? headers.get('last-event-id') : fieldOf(headers, 'last-event-id')
  if (bytes) return validId(Buffer.from(bytes, 'latin1').toString('utf8'))
  // Most URLs have no parameter of such a name, not even an encoded one.
  if (request.url === undefined || !/last|%/i.test(request.url)) return undefined
  const query = request.url.split('#', 1)[0]?.split('?').slice(1).join('?')
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
  if (lines.length === 0) return []
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
    addLine(fields, (rawHeaders[n] ?? '').toLowerCase(), rawHeaders[n + 1] ?? '')
  }
  return fields
}

function addLine(fields: FieldLines, name: string, line: string): void {
  const lines = fields.get(name)
  if (lines) lines.push(line)
  else fields.set(name, [line])
}

/** Names and values alternately. */
export function rawHeadersOf(fields: FieldLines): string[] {
  const rawHeaders: string[] = []
  for (const [name, [line = '', ...more]] of fields) {
    rawHeaders.push(name, line)
    for (const each of more) rawHeaders.push(name, each)
  }
  return rawHeaders
}

/** The hop-by-hop fields of RFC 9110, 7.6.1, and of the standards before it; `trailer`, because trailers are not passed on. */
const hopByHop: ReadonlySet<string> = new Set([
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
])

/** Whether a field frames the body or belongs to one connection. Only the sender of a message may set such a field. */
export function isHopField(name: string): boolean {
  return name === 'content-length' || hopByHop.has(name)
}

/**
 * The fields of a message that may be passed on: all but the hop-by-hop fields and those that its `connection` field names. Of
 * `te` only the value `trailers` is passed on.
 *
 * @param rawHeaders - As in {@link fieldLinesOf}.
 * @see RFC 9110, 7.6.1
 */
export function endToEndFields(rawHeaders: readonly string[]): FieldLines {
  const fields: FieldLines = new Map()
  const [connection, te]: [string[], string[]] = [[], []]
  for (let n = 0; n + 1 < rawHeaders.length; n += 2) {
    const name = (rawHeaders[n] ?? '').toLowerCase()
    const value = rawHeaders[n + 1] ?? ''
    if (!hopByHop.has(name)) addLine(fields, name, value)
    else if (name === 'te') te.push(value)
    // `keep-alive`, which nearly every message says, is the name of a hop-by-hop field.
    else if (name === 'connection' && value !== 'keep-alive') connection.push(value)
  }
  for (const name of tokensOf(connection)) fields.delete(name)
  if (tokensOf(te).includes('trailers')) fields.set('te', ['trailers'])
  return fields
}

/** The lines of a field in the form that `setHeader` of node:http takes: an array for a repeated field. */
export function fieldValueOf(lines: string[]): string | string[] {
  return lines.length > 1 ? lines : (lines[0] ?? '')
}

/**
 * The fields in the form that node:http sends, with each line kept. Not an array, which node:http accepts too: agents and monitors
 * that add a field to a request expect an object.
 */
export function outgoingFields(fields: FieldLines): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {}
  for (const [name, lines] of fields) {
    const value = fieldValueOf(lines)
    // An assignment would set the prototype.
    if (name === '__proto__') Object.defineProperty(headers, name, { value, enumerable: true })
    else headers[name] = value
  }
  return headers
}
