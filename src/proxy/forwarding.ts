import type { IncomingMessage } from 'node:http'
import { isIPv6 } from 'node:net'
import { TLSSocket } from 'node:tls'
import { endToEndFields, type FieldLines } from '../http/fields.ts'
import { hasBody } from '../relay/client.ts'
import { awaitsContinue, type ProxyRequest } from './downstream.ts'
import type { CheckedProxyOptions } from './options.ts'
import { hostOf } from './target.ts'

/**
 * The head with which a request goes on to the upstream. Its framing is what node has read and not what fields say: an
 * upstream that reads it otherwise would take a part of the body for another request.
 */
export function forwardedFields(
  req: ProxyRequest,
  { upstream, host, forwarded }: Pick<CheckedProxyOptions, 'upstream' | 'host' | 'forwarded'>,
): FieldLines {
  const fields = endToEndFields(req.rawHeaders)
  const cookies = fields.get('cookie')
  // HTTP/2 splits it so that it compresses, and nobody before HTTP/2 knows it split (RFC 9113, 8.2.3).
  if (cookies && req.httpVersionMajor > 1) fields.set('cookie', [cookies.join('; ')])
  for (const name of [...fields.keys()]) if (name.startsWith(':')) fields.delete(name)
  fields.delete('expect')
  fields.delete('content-length')
  const { 'transfer-encoding': coding, 'content-length': length } = req.headers
  if (coding === undefined && length !== undefined) fields.set('content-length', [length])
  else if (hasBody(req)) fields.set('transfer-encoding', ['chunked'])
  if (hasBody(req) && awaitsContinue(req)) fields.set('expect', ['100-continue'])
  const asked = hostOf(req)
  fields.set('host', [host === 'client' && asked !== undefined ? asked : upstream.host])
  sayForwarded(fields, forwarded, {
    address: req.socket.remoteAddress ?? 'unknown',
    proto: req.socket instanceof TLSSocket ? 'https' : 'http',
    host: asked,
  })
  // RFC 9110, 7.6.3.
  append(fields, 'via', `${req.httpVersion} resilient-sse`)
  return fields
}

/** What this server has seen of a client. */
interface Seen {
  readonly address: string
  readonly proto: 'http' | 'https'
  readonly host: string | undefined
}

/** Writes `x-forwarded-for`, `-proto`, `-host` and `forwarded` as the option `forwarded` of the proxy has it. */
function sayForwarded(fields: FieldLines, mode: CheckedProxyOptions['forwarded'], seen: Seen): void {
  if (mode === 'off') {
    for (const name of [...fields.keys()]) {
      if (name === 'forwarded' || name.startsWith('x-forwarded-')) fields.delete(name)
    }
    return
  }
  if (mode === 'append') {
    for (const name of ['x-forwarded-proto', 'x-forwarded-host', 'forwarded']) fields.delete(name)
  }
  const { address, proto, host } = seen
  const isSaid = fields.has('forwarded')
  const isSaidInOldForm = fields.has('x-forwarded-proto') || fields.has('x-forwarded-host')
  append(fields, 'x-forwarded-for', address)
  // One form that says what we have seen would contradict the other, which says what the proxy in front has seen.
  if (isSaid || !isSaidInOldForm) append(fields, 'forwarded', forwardedElement(seen))
  if (isSaid) return
  if (!fields.has('x-forwarded-proto')) fields.set('x-forwarded-proto', [proto])
  if (host !== undefined && !fields.has('x-forwarded-host')) fields.set('x-forwarded-host', [host])
}

/** RFC 7239, 4 and 6. */
function forwardedElement({ address, proto, host }: Seen): string {
  const node = isIPv6(address) ? `[${address}]` : address
  const pairs = [
    `for=${quoted(node)}`,
    ...(host === undefined ? [] : [`host=${quoted(host)}`]),
    `proto=${proto}`,
  ]
  return pairs.join(';')
}

/** As a token where it is one, else as a quoted string (RFC 9110, 5.6). */
function quoted(value: string): string {
  return /^[!#$%&'*+.^`|~\w-]+$/.test(value) ? value : `"${value.replace(/["\\]/g, '\\$&')}"`
}

/** Conditions on, and parts of, a representation: nothing that an event stream that goes on is asked for. */
const conditionalFields = [
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
  'if-range',
  'range',
]

/** The fields of the same request for a stream that goes on behind an event. */
export function resumedFields(fields: FieldLines, lastEventId: string | undefined): FieldLines {
  const resumed = new Map(fields)
  for (const name of [...conditionalFields, 'last-event-id']) resumed.delete(name)
  if (lastEventId !== undefined) resumed.set('last-event-id', [lastEventId])
  return resumed
}

/** The fields of a response whose stream outlives it: without those about its one body, and about the moment. */
export function streamFields(fields: FieldLines): FieldLines {
  const rest = new Map(fields)
  for (const name of ['content-length', 'content-encoding', 'date', 'age']) rest.delete(name)
  return rest
}

/** Whether a request's body is coded for this hop in a way that node:http does not take off (RFC 9112, 6.1). */
export function isCodedRequest({ headers }: ProxyRequest): boolean {
  const coding = headers['transfer-encoding']
  return coding !== undefined && coding.trim().toLowerCase() !== 'chunked'
}

/**
 * The same of a response. Some servers name `identity`, which does nothing: HTTP/1.1 knew the coding until RFC 7230. In
 * a request it stays unknown, as servers disagree on where such a request ends.
 */
export function isCodedResponse({ headers }: IncomingMessage): boolean {
  const codings = (headers['transfer-encoding'] ?? '').toLowerCase().split(',')
  const isChunked = codings.at(-1)?.trim() === 'chunked'
  const others = isChunked ? codings.slice(0, -1) : codings
  return others.some((coding) => !['', 'identity'].includes(coding.trim()))
}

function append(fields: FieldLines, name: string, value: string): void {
  fields.set(name, [[...(fields.get(name) ?? []), value].join(', ')])
}
