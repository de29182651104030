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
 * It writes the head (`content-type`, `cache-control`, `x-accel-buffering`, besides what was set before), the events,
 * and heartbeats in between; it closes the upstream when the client disconnects, and lets the client see every failure. A
 * HEAD request gets the head, and no upstream is dialled.
 *
 * @param req - A request of node:http, node:https or node:http2, or a framework's around it; its `Last-Event-ID` is
 * where the stream starts, unless `lastEventId` says otherwise.
 * @param res - The response to that request. Nobody else may write to it.
 * @returns How the relay ended; it does not reject for what a client or an upstream did.
 * @throws `TypeError` or `RangeError` that names a wrong option, and what a function of the caller's throws; as long as
 * the head is not out, the response is then left as it was, for the caller's own error handling.
 */
export async function relaySse(
  req: ClientRequestLike,
  res: DownstreamResponse,
  factory: UpstreamFactory,
  options: RelayOptions = {},
): Promise<RelaySummary> {
  return new Relay(req, new NodeResponse(req, res), factory, options).run()
}

/**
 * The same for servers that speak the fetch API. When the consumer of the body cancels it, or the request's signal is
 * aborted, the client has disconnected.
 *
 * @param onEnd - Called once with the summary, or with what a function of the caller's threw.
 * @returns Resolves when the head is known, as {@link relaySse} sends it.
 * @throws `TypeError` or `RangeError` that names a wrong option, and what a function of the caller's throws before the
 * head is known.
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
  // A fault in front of the head is all that the relay ends with before there is a response.
  return Promise.race([downstream.response, summary.then(() => downstream.response)])
}
