import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import { endToEndFields, type FieldLines, linesOf } from '../http/fields.ts'
import { hasBody } from '../relay/client.ts'
import { awaitsContinue, type ProxyRequest } from './downstream.ts'
import type { CheckedProxyOptions } from './options.ts'
import { hostOf } from './target.ts'

/** The end-to-end fields of a client's request, in the form of HTTP/1.1. */
export function clientFields(req: ProxyRequest): FieldLines {
  const fields = endToEndFields(req.rawHeaders)
  if (req.httpVersionMajor === 1) return fields
  const cookies = fields.get('cookie')
  // HTTP/2 splits `cookie` to compress it; HTTP/1.1 allows only one line (RFC 9113, 8.2.3).
  if (cookies) fields.set('cookie', [cookies.join('; ')])
  for (const name of [...fields.keys()]) if (name.startsWith(':')) fields.delete(name)
  return fields
}

/**
 * The header fields that a request takes to the upstream. The framing fields follow Node's parser and not the client's fields: an
 * upstream that parses those differently would read a part of the body as another request (request smuggling).
 */
export function forwardedFields(
  req: ProxyRequest,
  { upstream, host, forwarded }: Pick<CheckedProxyOptions, 'upstream' | 'host' | 'forwarded'>,
): FieldLines {
  const fields = clientFields(req)
  fields.delete('expect')
  fields.delete('content-length')
  const { 'transfer-encoding': coding, 'content-length': length } = req.headers
  if (coding === undefined && length !== undefined) fields.set('content-length', [length])
  else if (hasBody(req)) fields.set('transfer-encoding', ['chunked'])
  if (awaitsContinue(req) && hasBody(req)) fields.set('expect', ['100-continue'])
  const requestedHost = hostOf(req)
  fields.set('host', [host === 'client' && requestedHost !== undefined ? requestedHost : upstream.host])
  setForwardedFields(fields, forwarded, {
    address: req.socket.remoteAddress ?? 'unknown',
    proto: req.socket instanceof TLSSocket ? 'https' : 'http',
    host: requestedHost,
  })
  // RFC 9110, 7.6.3.
  append(fields, 'via', `${req.httpVersion} resilient-sse`)
  return fields
}

/** A client's connection, as this server sees it. */
interface ClientInfo {
  readonly address: string
  readonly proto: 'http' | 'https'
  readonly host: string | undefined
}

/** Sets `x-forwarded-for`, `-proto`, `-host` and `forwarded` according to the proxy's option `forwarded`. */
function setForwardedFields(
  fields: FieldLines,
  mode: CheckedProxyOptions['forwarded'],
  client: ClientInfo,
): void {
  if (mode === 'off') {
    for (const name of [...fields.keys()]) {
      if (name === 'forwarded' || name.startsWith('x-forwarded-')) fields.delete(name)
    }
    return
  }
  if (mode === 'append') {
    for (const name of ['x-forwarded-proto', 'x-forwarded-host', 'forwarded']) fields.delete(name)
  }
  const { address, proto, host } = client
  const hasForwarded = fields.has('forwarded')
  const hasXForwarded = fields.has('x-forwarded-proto') || fields.has('x-forwarded-host')
  append(fields, 'x-forwarded-for', address)
  // If the proxy in front sent only one of the two forms, the other is not added: it would describe a different connection.
  if (hasForwarded || !hasXForwarded) append(fields, 'forwarded', forwardedElement(client))
  if (hasForwarded) return
  if (!fields.has('x-forwarded-proto')) fields.set('x-forwarded-proto', [proto])
  if (host !== undefined && !fields.has('x-forwarded-host')) fields.set('x-forwarded-host', [host])
}

/** An element of the field `forwarded` (RFC 7239, 4 and 6). */
function forwardedElement({ address, proto, host }: ClientInfo): string {
  // Only an address of IPv6 has a colon.
  const node = address.includes(':') ? `[${address}]` : address
  const requested = host === undefined ? '' : `host=${quoted(host)};`
  return `for=${quoted(node)};${requested}proto=${proto}`
}

/** Writes a value as a token where possible, else as a quoted string (RFC 9110, 5.6). */
function quoted(value: string): string {
  return /^[!#$%&'*+.^`|~\w-]+$/.test(value) ? value : `"${value.replace(/["\\]/g, '\\$&')}"`
}

/** Conditional and range fields. They do not apply to a resumed event stream. */
const conditionalFields = [
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
  'if-range',
  'range',
]

/** The fields of the request that resumes a stream after an event. */
export function resumedFields(fields: FieldLines, lastEventId: string | undefined): FieldLines {
  const resumed = new Map(fields)
  for (const name of [...conditionalFields, 'last-event-id']) resumed.delete(name)
  if (lastEventId !== undefined) resumed.set('last-event-id', [lastEventId])
  return resumed
}

/** The fields of a response that hold for the whole stream: all but those about this body and about the time of the response. */
export function streamFields(fields: FieldLines): FieldLines {
  const rest = new Map(fields)
  for (const name of ['content-length', 'content-encoding', 'date', 'age']) rest.delete(name)
  return rest
}

/** Whether a request's body has a transfer coding that node:http does not decode (RFC 9112, 6.1). */
export function isCodedRequest({ headers }: ProxyRequest): boolean {
  const coding = headers['transfer-encoding']
  return coding !== undefined && coding.trim().toLowerCase() !== 'chunked'
}

/**
 * Whether a response's body has such a coding. `identity` is allowed: it changes nothing, HTTP/1.1 defined it until RFC 7230, and
 * some servers still send it. In a request `identity` is refused, because servers disagree on where such a request ends.
 */
export function isCodedResponse({ rawHeaders }: IncomingMessage): boolean {
  const lines = linesOf(rawHeaders, 'transfer-encoding')
  if (lines.length === 0) return false
  const codings = lines.join(',').toLowerCase().split(',')
  const isChunked = codings.at(-1)?.trim() === 'chunked'
  const others = isChunked ? codings.slice(0, -1) : codings
  return others.some((coding) => !['', 'identity'].includes(coding.trim()))
}

function append(fields: FieldLines, name: string, value: string): void {
  const lines = fields.get(name)
  fields.set(name, [lines ? `${lines.join(', ')}, ${value}` : value])
}
