import { asError, callReport } from '../errors.ts'
import { tokensOf } from '../http/fields.ts'
import { isEventStream } from '../http/media-type.ts'
import type { SseHub } from '../hub/hub.ts'
import type { UpstreamContext, UpstreamFactory } from '../upstream/shapes.ts'
import { type ProxyRequest, type ProxyResponse, refuse } from './downstream.ts'
import { forwardedFields, resumedFields } from './forwarding.ts'
import type { CheckedProxyOptions } from './options.ts'
import { withoutLastEventId } from './target.ts'
import { dialUpstream } from './upstream-request.ts'

/**
 * Answers a request with a shared stream. The request of the client that opens the stream is sent to the upstream.
 *
 * @param path - The path and query that the upstream is asked for.
 */
export function relayShared(
  options: CheckedProxyOptions,
  hub: SseHub,
  name: string,
  req: ProxyRequest,
  res: ProxyResponse,
  path: string,
): void {
  // Left out: the options for what passes between one client and an upstream connection of its own.
  const { onClientGone, cursorAsId, comments, windowBytes, ...relay } = options.relay
  const { connectTimeout, logger, shared } = options
  hub
    .relay(req, res, name, factoryOf(options, req, path), {
      ...relay,
      ...shared,
      connectTimeout,
      logger,
      upstreamFields: true,
    })
    .then(
      ({ error }) => error && report(options, error, req),
      (fault: unknown) => failShared(options, fault, req, res),
    )
}

/** Answers a request after a function of the caller has thrown, such as the option `share`. */
export function failShared(
  options: CheckedProxyOptions,
  fault: unknown,
  req: ProxyRequest,
  res: ProxyResponse,
): void {
  report(options, asError(fault), req)
  // After the head, the hub has broken the response.
  if (!res.headersSent) refuse(req, res, 500)
}

/** Sends the request of one client, for as long as the stream needs it: the client itself may have left. */
function factoryOf(options: CheckedProxyOptions, req: ProxyRequest, target: string): UpstreamFactory {
  // The last event ID is the hub's, and the upstream would not know it.
  const path = withoutLastEventId(target)
  const fields = forwardedFields(req, options)
  fields.delete('accept-encoding')
  // Other clients of the stream may accept nothing else.
  if (!tokensOf(fields.get('accept')).some(isEventStream)) fields.set('accept', ['text/event-stream'])
  for (const [name, lines] of options.headers) fields.set(name, lines)
  const factory = ({ headers: { 'last-event-id': lastEventId }, signal }: UpstreamContext) =>
    dialUpstream(options, {
      method: 'GET',
      path,
      fields: resumedFields(fields, lastEventId),
      signal,
    })
  return Object.assign(factory, { url: options.upstream.origin + path })
}

function report({ onError }: CheckedProxyOptions, error: Error, req: ProxyRequest): void {
  callReport(() => onError?.(error, req))
}
