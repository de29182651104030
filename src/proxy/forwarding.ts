import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import { tokensOf } from '../http/fields.ts'

/** Header fields by name in lower case, each with all of its lines. */
export type FieldLines = Map<string, string[]>

/** RFC 9110, 7.6.1, and what was sent as such before it; `trailer`, because trailers are not passed on. */
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

/** Fields that say how the body is framed, or to which hop the message goes: nobody but the sender may set them. */
export function isHopField(name: string): boolean {
  return name === 'content-length' || hopByHop.some((each) => each === name)
}

/**
 * What of a message's head may be passed on: all but the fields of the hop that it came over, and those that its
 * `connection` names. A `te` is passed on as far as it says `trailers`.
 *
 * @param rawHeaders - Names and values in turn, as node:http gives them, so that repeated fields stay apart.
 * @see RFC 9110, 7.6.1
 */
export function endToEndFields(rawHeaders: readonly string[]): FieldLines {
  const fields: FieldLines = new Map()
  for (let n = 0; n + 1 < rawHeaders.length; n += 2) {
    const name = (rawHeaders[n] ?? '').toLowerCase()
    const lines = fields.get(name)
    if (lines) lines.push(rawHeaders[n + 1] ?? '')
    else fields.set(name, [rawHeaders[n + 1] ?? ''])
  }
  const named = tokensOf(fields.get('connection'))
  const trailers = tokensOf(fields.get('te')).includes('trailers')
  for (const name of [...hopByHop, ...named]) fields.delete(name)
  if (trailers) fields.set('te', ['trailers'])
  return fields
}

/**
 * The head with which a request goes on to the upstream. Its framing is what node:http has read and not what fields
 * say: an upstream that reads it otherwise would take a part of the body for another request.
 *
 * `x-forwarded-for` goes on with the peer's address; `x-forwarded-proto` and `x-forwarded-host` are what this server
 * has seen. A `forwarded` would contradict them, and is left out.
 */
export function forwardedFields(req: IncomingMessage, upstreamHost: string): FieldLines {
  const fields = endToEndFields(req.rawHeaders)
  // The server that this is has met the expectation: node:http has sent a 100.
  for (const name of ['content-length', 'expect', 'forwarded']) fields.delete(name)
  const { 'transfer-encoding': coding, 'content-length': length, host } = req.headers
  if (coding !== undefined) fields.set('transfer-encoding', ['chunked'])
  else if (length !== undefined) fields.set('content-length', [length])
  fields.set('host', [upstreamHost])
  append(fields, 'x-forwarded-for', req.socket.remoteAddress ?? 'unknown')
  fields.set('x-forwarded-proto', [req.socket instanceof TLSSocket ? 'https' : 'http'])
  fields.delete('x-forwarded-host')
  if (host !== undefined) fields.set('x-forwarded-host', [host])
  // RFC 9110, 7.6.3.
  append(fields, 'via', `${req.httpVersion} resilient-sse`)
  return fields
}

/** Whether a body is coded for this hop in a way that node:http does not take off (RFC 9112, 6.1). */
export function hasUnknownCoding({ headers }: IncomingMessage): boolean {
  const coding = headers['transfer-encoding']
  return coding !== undefined && coding.trim().toLowerCase() !== 'chunked'
}

function append(fields: FieldLines, name: string, value: string): void {
  fields.set(name, [[...(fields.get(name) ?? []), value].join(', ')])
}
