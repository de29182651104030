import { EventEmitter } from 'node:events'
import { fieldOf, isFetchHeaders, type RequestWithLastEventId } from '../http/fields.ts'

/**
 * A request of node:http or node:http2, a framework's wrapper of such a request, or a fetch-API `Request`.
 *
 * @example
 * ```ts
 * import type { ClientRequestLike } from 'resilient-sse'
 *
 * const isGet = ({ method }: ClientRequestLike) => method === 'GET'
 * ```
 */
export type ClientRequestLike = RequestWithLastEventId & { readonly method?: string | undefined }

/**
 * Tells from a request what its client does when an event stream ends or is refused:
 *
 * - `'reconnects'`: a GET without a body whose `Accept` names `text/event-stream`. EventSource sends such a request. An
 *   EventSource reconnects when its connection ends or breaks, and fails permanently for a status other than 200 (HTML,
 *   9.2.3).
 * - `'program'`: a request whose `Accept` names types, but neither `text/event-stream` nor a range that includes this type.
 *   The client expects a status as the answer, and does not reconnect when a stream ends.
 * - `'other'`: any other request, such as one that accepts any type (curl and fetch by default), or a POST that accepts event streams.
 *
 * A type with a weight of 0 is not acceptable (RFC 9110, 12.4.2) and is ignored. A request without a method is a GET.
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

/** Whether a request has a body. A body over HTTP/2 may have no `content-length`: there only the frames show a body. */
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
  // One type, as most programs send it.
  if (/^[\w/*+.-]+$/.test(accept)) return [accept.toLowerCase()]
  return accept
    .toLowerCase()
    .split(',')
    .map((range) => range.split(';').map((part) => part.trim()))
    .filter(([type, ...parameters]) => type !== '' && !parameters.some((each) => /^q=0(\.0*)?$/.test(each)))
    .map(([type = '']) => type)
}

const callbacksOf = new WeakMap<EventEmitter, Set<() => void>>()

/**
 * Calls a function when the connection of a request closes.
 *
 * @returns A function that removes the callback.
 */
export function onDisconnect(request: object, callback: () => void): () => void {
  const socket = socketOf(request)
  if (socket === undefined) return () => {}
  const callbacks = callbacksOf.get(socket) ?? new Set()
  if (!callbacksOf.has(socket)) {
    callbacksOf.set(socket, callbacks)
    // One listener for all requests of a connection: more than ten listeners would cause a warning.
    socket.once('close', () => {
      for (const call of callbacks) call()
    })
  }
  callbacks.add(callback)
  return () => callbacks.delete(callback)
}

/** Whether a request's connection is closed, for example since before the relay started. */
export function hasDisconnected(request: object): boolean {
  const socket = socketOf(request)
  return socket !== undefined && 'destroyed' in socket && socket.destroyed === true
}

function socketOf(request: object): EventEmitter | undefined {
  return 'socket' in request && request.socket instanceof EventEmitter ? request.socket : undefined
}
