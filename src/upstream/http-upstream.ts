import type http from 'node:http'
import type https from 'node:https'
import { urlToHttpOptions } from 'node:url'
import { cancelSignalOf } from '../http/cancellation.ts'
import { dialHttp } from '../http/dialer.ts'
import { makeAgent } from '../http/direct-agent.ts'
import type { UpstreamFactory } from './shapes.ts'

/**
 * Options of {@link httpUpstream}: those of node:http and node:https requests, and a body.
 *
 * @example
 * ```ts
 * import { type HttpUpstreamOptions, httpUpstream } from 'resilient-sse'
 *
 * const options: HttpUpstreamOptions = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }
 * const upstream = httpUpstream('http://localhost:3000/answer', options)
 * ```
 */
export interface HttpUpstreamOptions extends Omit<https.RequestOptions, 'signal' | 'headers'> {
  /**
   * Header fields. They replace the library's fields, except for `last-event-id`, which is sent only until an id is known. An
   * undefined field is the same as none.
   */
  readonly headers?: http.OutgoingHttpHeaders
  /** The request's body, sent with each attempt. */
  readonly body?: string | Uint8Array
}

/**
 * Makes a factory over node:http or node:https, which, unlike fetch, have no time limit for a silent body. Connections are kept
 * alive and reused by an agent that all factories of the process share. An idempotent request (RFC 9110, 9.2.2) is sent once
 * more within the same attempt when such a connection turns out to be closed; an attempt sends any other request only once.
 *
 * The factory's `url` and `method` are the URL and method of the request. The factory rejects with an {@link SseError} `ERR_SSE_CONNECT` whose
 * `sent` tells whether the request may have been processed.
 *
 * @param url - An http: or https: URL.
 * @throws `TypeError` for any other URL, and for credentials in it that are not percent-encoded.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, httpUpstream } from 'resilient-sse'
 *
 * const upstream = httpUpstream('http://localhost:3000/events', { headers: { authorization: 'Bearer secret' } })
 * createResilientSseSource(upstream).pipe(process.stdout)
 * ```
 */
export function httpUpstream(url: string | URL, options: HttpUpstreamOptions = {}): UpstreamFactory {
  // The error of `new URL` would contain the URL, which may contain a password.
  if (!URL.canParse(String(url))) throw new TypeError('Invalid URL: url must be an http: or https: URL')
  const target = new URL(url)
  const { href, protocol } = target
  if (protocol !== 'http:' && protocol !== 'https:') {
    // `localhost:3000` is a URL with the scheme `localhost`. Nothing of a URL is shown that may be a password.
    const [address] = /^[\w.-]+:\d+(?![^/])/.exec(href) ?? []
    const hint = address === undefined ? '' : `; did you mean http://${address}?`
    throw new TypeError(`url must be an http: or https: URL, got the scheme ${protocol}${hint}`)
  }
  const { headers: given = {}, method = 'GET', body, ...requestOptions } = options
  const fixed = {
    ...requestOptionsOf(target),
    ...requestOptions,
    method,
    // A signal among the caller's options must not replace the attempt's.
    signal: undefined,
  }
  // A client's field that the client has not sent, as in `{ cookie: req.headers.cookie }`, is undefined: node:http would throw.
  const named = Object.entries(given).filter(([, value]) => value !== undefined)
  const own = Object.fromEntries(named.map(([name, value]) => [name.toLowerCase(), value]))
  // The context itself is not passed on: the request's listeners would keep the context, whose last error keeps the previous request, and so on.
  const factory: UpstreamFactory = (context) => {
    const { 'last-event-id': lastEventId, ...defaults } = context.headers
    const { fastPath = true } = context
    const signal = cancelSignalOf(context)
    const agent = options.agent ?? agentFor(protocol, fastPath)
    const headers = {
      ...defaults,
      ...own,
      ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
    }
    return dialHttp({ options: { ...fixed, agent, headers }, signal, body })
  }
  return Object.assign(factory, { url: href, method: method.toUpperCase() })
}

const agents = new Map<string, http.Agent>()

/** An agent that all factories share: the pool of a factory that is used only once would keep its connection open. */
function agentFor(protocol: 'http:' | 'https:', fastPath: boolean): http.Agent {
  const key = `${protocol} ${fastPath}`
  const agent = agents.get(key) ?? makeAgent(protocol, fastPath)
  agents.set(key, agent)
  return agent
}

function requestOptionsOf(url: URL) {
  try {
    const { protocol, hostname, port, path, auth } = urlToHttpOptions(url)
    return { protocol, hostname, port, path, ...(auth !== undefined && { auth }) }
  } catch {
    // The user name or password contains a lone `%`. The message does not show it.
    throw new TypeError('url must have percent-encoded credentials')
  }
}
