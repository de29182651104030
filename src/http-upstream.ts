import http from 'node:http'
import https from 'node:https'
import type { UpstreamFactory } from './upstream.ts'

/** Options of {@link httpUpstream}: those of node:http and node:https requests, and a body. */
export interface HttpUpstreamOptions extends Omit<https.RequestOptions, 'signal' | 'headers'> {
  /** Header fields. They go before ours, except for a `last-event-id`, which holds only until an id is known. */
  readonly headers?: http.OutgoingHttpHeaders
  /** The request's body, sent with each attempt. */
  readonly body?: string | Uint8Array
}

/**
 * A factory over node:http or node:https, which unlike fetch never end a body for being quiet. Connections are kept
 * alive and reused, by an agent that all attempts share.
 *
 * @param url - An http: or https: URL.
 * @throws `TypeError` for any other URL.
 */
export function httpUpstream(url: string | URL, options: HttpUpstreamOptions = {}): UpstreamFactory {
  const target = new URL(url)
  if (target.protocol !== 'http:' && target.protocol !== 'https:') {
    throw new TypeError(`url must be an http: or https: URL, got ${target.protocol}`)
  }
  const { body, headers = {}, ...requestOptions } = options
  const client = target.protocol === 'https:' ? https : http
  const agent = options.agent ?? new client.Agent({ keepAlive: true })
  const own = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  const factory: UpstreamFactory = (context) =>
    new Promise((resolve, reject) => {
      const { 'last-event-id': lastEventId, ...defaults } = context.headers
      const request = client.request(
        target,
        {
          ...requestOptions,
          agent,
          headers: {
            ...defaults,
            ...own,
            ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
          },
          signal: context.signal,
        },
        resolve,
      )
      request.on('error', reject)
      request.end(body)
    })
  return Object.assign(factory, { url: target.href })
}
