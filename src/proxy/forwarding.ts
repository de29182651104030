import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import { endToEndFields, type FieldLines } from '../http/fields.ts'

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

/** Whether a body is coded for this hop in a way that node:http does not take off (RFC 9112, 6.1). */
export function hasUnknownCoding({ headers }: IncomingMessage): boolean {
  const coding = headers['transfer-encoding']
  return coding !== undefined && coding.trim().toLowerCase() !== 'chunked'
}

function append(fields: FieldLines, name: string, value: string): void {
  fields.set(name, [[...(fields.get(name) ?? []), value].join(', ')])
}
