import { callReport } from '../errors.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import type { ClientRequestLike } from './client.ts'
import { type DownstreamResponse, NodeResponse } from './node-response.ts'
import type { RelayOptions } from './options.ts'
import { Relay, type RelaySummary } from './relay-sink.ts'
import { WebResponse } from './web-response.ts'

/**
 * Answers a request with an event stream that outlives its upstream's connections.
 *
 * Writes the head (`content-type`, `cache-control` and `x-accel-buffering`; other fields that were set before are kept), the
 * events, and heartbeats. Closes the upstream when the client disconnects, and makes every failure visible to the client. A
 * HEAD request gets the head, and the factory is not called.
 *
 * @param req - A request of node:http, node:https or node:http2, or a framework's wrapper of such a request. The stream
 * starts after the request's `Last-Event-ID`, unless the option `lastEventId` is given.
 * @param res - The response to that request. No other code may write to the response.
 * @param factory - Called once for each attempt; returns the upstream's response.
 * @returns Resolves at the end of the relay. Failures of a client or an upstream resolve too.
 * @throws `TypeError` or `RangeError` that names a wrong option, and errors thrown by a function of the caller. Before the
 * head was sent, such an error leaves the response unchanged, for the caller's own error handling.
 *
 * @example
 * ```ts
 * import http from 'node:http'
 * import { httpUpstream, relaySse } from 'resilient-sse'
 *
 * const upstream = httpUpstream('http://localhost:3000/events')
 *
 * http.createServer((req, res) => {
 *   relaySse(req, res, upstream).catch((error) => res.destroy(error))
 * })
 * ```
 */
export function relaySse(
  req: ClientRequestLike,
  res: DownstreamResponse,
  factory: UpstreamFactory,
  options: RelayOptions = {},
): Promise<RelaySummary> {
  // Not an async function, whose promise would be a second one to hold for each stream.
  try {
    return new Relay(req, new NodeResponse(req, res, options?.fastPath !== false), factory, options).run()
  } catch (error) {
    return Promise.reject(error)
  }
}

/**
 * Does the same as {@link relaySse} for servers of the fetch API. The client counts as disconnected when the body is canceled
 * or the request's signal is aborted.
 *
 * @param factory - Called once for each attempt; returns the upstream's response.
 * @param onEnd - Called once at the end of the relay, with the summary, or with an error thrown by a function of the caller.
 * @returns Resolves when the head is known, at the time at which {@link relaySse} sends the head.
 * @throws `TypeError` or `RangeError` that names a wrong option, and errors thrown by a function of the caller before the
 * head is known.
 *
 * @example
 * ```ts
 * import { httpUpstream, relayResponse } from 'resilient-sse'
 *
 * const upstream = httpUpstream('http://localhost:3000/events')
 *
 * export const GET = (request: Request) => relayResponse(request, upstream)
 * ```
 */
export async function relayResponse(
  request: Request,
  factory: UpstreamFactory,
  options: RelayOptions = {},
  onEnd: (error: unknown, summary?: RelaySummary) => void = () => {},
): Promise<Response> {
  const downstream = new WebResponse(request.signal)
  const summary = new Relay(request, downstream, factory, options).run()
  const report = (error: unknown, summary?: RelaySummary) => callReport(() => onEnd(error, summary))
  summary.then((summary) => report(undefined, summary), report)
  // Before the head is known, the summary can only reject: then there is no response to wait for.
  return Promise.race([downstream.response, summary.then(() => downstream.response)])
}
