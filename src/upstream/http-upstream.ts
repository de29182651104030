import http from 'node:http'
import https from 'node:https'
import { urlToHttpOptions } from 'node:url'
import { dialHttp } from '../http/dialer.ts'
import type { UpstreamFactory } from './shapes.ts'

/** Options of {@link httpUpstream}: those of node:http and node:https requests, and a body. */
export interface HttpUpstreamOptions extends Omit<https.RequestOptions, 'signal' | 'headers'> {
  /** Header fields. They go before ours, except for a `last-event-id`, which holds only until an id is known. */
  readonly headers?: http.OutgoingHttpHeaders
  /** The request's body, sent with each attempt. */
  readonly body?: string | Uint8Array
}

/**
 * A factory over node:http or node:https, which unlike fetch never end a body for being quiet. Connections are kept
 * alive and reused, by an agent that all factories of the process share. An idempotent request (RFC 9110, 9.2.2) is sent once more
 * within the same attempt when such a connection turns out to be closed; other requests are never sent twice.
 *
 * The factory's `url` and `method` are those of the request. It rejects with an {@link SseError} `ERR_SSE_CONNECT` whose
 * `sent` tells whether the request may have been processed.
 *
 * @param url - An http: or https: URL.
 * @throws `TypeError` for any other URL, and for credentials in it that are not percent-encoded.
 */
export function httpUpstream(url: string | URL, options: HttpUpstreamOptions = {}): UpstreamFactory {
  // The platform's error would hold the URL, and a password in it.
  if (!URL.canParse(String(url))) throw new TypeError('Invalid URL: url must be an http: or https: URL')
  const target = new URL(url)
  const { href, protocol } = target
  if (protocol !== 'http:' && protocol !== 'https:') {
    throw new TypeError(`url must be an http: or https: URL, got ${protocol}`)
  }
  const { headers: given = {}, method = 'GET', ...requestOptions } = options
  const fixed = {
    ...requestOptionsOf(target),
    ...requestOptions,
    method,
    agent: options.agent ?? agentFor(protocol),
  }
  const own = Object.fromEntries(Object.entries(given).map(([name, value]) => [name.toLowerCase(), value]))
  // No more of the context: the request's listeners would keep its last error, which keeps the request before, and so on.
  const factory: UpstreamFactory = ({ headers: { 'last-event-id': lastEventId, ...defaults }, signal }) => {
    const headers = {
      ...defaults,
      ...own,
      ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
    }
    // Last, as a signal among the caller's options is not the attempt's.
    return dialHttp({ ...fixed, headers, signal })
  }
  return Object.assign(factory, { url: href, method: method.toUpperCase() })
}

const agents = new Map<string, http.Agent>()

/** One for all factories: a factory that is made for one request would leave its connection behind in a pool of its own. */
function agentFor(protocol: 'http:' | 'https:'): http.Agent {
  const agent = agents.get(protocol) ?? new (protocol === 'https:' ? https : http).Agent({ keepAlive: true })
  agents.set(protocol, agent)
  return agent
}

function requestOptionsOf(url: URL) {
  try {
    return urlToHttpOptions(url)
  } catch {
    // A lone `%` in a user name or password. Not shown, for that reason.
    throw new TypeError('url must have percent-encoded credentials')
  }
}
