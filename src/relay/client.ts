import { EventEmitter } from 'node:events'
import { fieldOf, isFetchHeaders, type RequestWithLastEventId } from '../http/fields.ts'

/** What is read of a request of node:http or node:http2, of a framework's around it, or of a fetch-API `Request`. */
export type ClientRequestLike = RequestWithLastEventId & { readonly method?: string | undefined }

/**
 * What a client does when its event stream ends or is refused, as far as its request tells:
 *
 * - `'reconnects'`: a GET without a body whose `Accept` names `text/event-stream`. EventSource sends it, comes back when
 *   its connection ends or breaks, and gives up for ever when it is answered with a status other than 200 (HTML, 9.2.3).
 * - `'program'`: its `Accept` names types, and neither `text/event-stream` nor a range that holds it. A status is its
 *   answer, and the end of a stream is the end.
 * - `'other'`: the rest, such as the `Accept: *\/*` of curl and fetch, or a POST that accepts event streams.
 *
 * A type with a weight of 0 is not acceptable (RFC 9110, 12.4.2), and counts as not named. A request without a method is
 * a GET.
 */
export function clientKind(request: ClientRequestLike): 'reconnects' | 'program' | 'other' {
  const { headers, method = 'GET' } = request
  const field = isFetchHeaders(headers) ? headers.get('accept') : fieldOf(headers, 'accept')
  const types = acceptedTypes(field ?? '')
  if (types.includes('text/event-stream')) {
    return method === 'GET' && !hasBody(request) ? 'reconnects' : 'other'
  }
  return types.length === 0 || types.includes('*/*') || types.includes('text/*') ? 'other' : 'program'
}

/** Whether a request has a body. A request of HTTP/2 need not announce its body's length: there the frames tell. */
export function hasBody(request: ClientRequestLike): boolean {
  const { headers } = request
  if (isFetchHeaders(headers)) return 'body' in request && request.body !== null
  const length = fieldOf(headers, 'content-length')
  if (length !== undefined || headers['transfer-encoding'] !== undefined) return Number(length) !== 0
  const stream = 'stream' in request ? request.stream : undefined
  return (
    typeof stream === 'object' && stream !== null && 'endAfterHeaders' in stream && !stream.endAfterHeaders
  )
}

function acceptedTypes(accept: string): string[] {
  return accept
    .toLowerCase()
    .split(',')
    .map((range) => range.split(';').map((part) => part.trim()))
    .filter(([type, ...parameters]) => type !== '' && !parameters.some((each) => /^q=0(\.0*)?$/.test(each)))
    .map(([type = '']) => type)
}

const callbacksOf = new WeakMap<EventEmitter, Set<() => void>>()

/**
 * Calls when the client of a request disconnects. A response does not always say so: one that waits for its turn behind
 * another on the same connection (pipelining) gets no event from node:http.
 *
 * @returns Stops listening.
 */
export function onDisconnect(request: object, callback: () => void): () => void {
  const socket = socketOf(request)
  if (socket === undefined) return () => {}
  const callbacks = callbacksOf.get(socket) ?? new Set()
  if (!callbacksOf.has(socket)) {
    callbacksOf.set(socket, callbacks)
    // One listener, however many requests share the connection.
    socket.once('close', () => {
      for (const call of callbacks) call()
    })
  }
  callbacks.add(callback)
  return () => callbacks.delete(callback)
}

/** Whether the connection of a request is closed: it may have closed while somebody else dealt with the request. */
export function hasDisconnected(request: object): boolean {
  const socket = socketOf(request)
  return socket !== undefined && 'destroyed' in socket && socket.destroyed === true
}

function socketOf(request: object): EventEmitter | undefined {
  return 'socket' in request && request.socket instanceof EventEmitter ? request.socket : undefined
}
