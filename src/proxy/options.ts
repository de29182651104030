import http from 'node:http'
import type { RequestOptions } from 'node:https'
import { isIP } from 'node:net'
import { urlToHttpOptions } from 'node:url'
import { shown } from '../errors.ts'
import { directRequestsTo, makeAgent } from '../http/direct-agent.ts'
import type { DirectRequests } from '../http/direct-request.ts'
import { isHopField } from '../http/fields.ts'
import { redactUrl } from '../http/url.ts'
import type { SseHub } from '../hub/hub.ts'
import { hubOptions, logOptions, retentionOptions, type SharedStreamOptions } from '../hub/options.ts'
import {
  callback,
  checkOptions,
  choice,
  type Kind,
  milliseconds,
  type OptionsOf,
  object,
  optional,
  required,
  type ValuesOf,
  withDefault,
  written,
} from '../options.ts'
import { reconnectOptions, sourceOptions } from '../reconnect/options.ts'
import { type RelayOptions, relayOptions } from '../relay/options.ts'
import type { ProxyRequest } from './downstream.ts'

// Without the options that the request or its first answer decides, and without the proxy's own options.
const { initialResponse, lastEventId, cursor, head, connectTimeout, logger, ...remaining } = relayOptions
export const proxyRelayOptions = remaining

/**
 * Options of a proxy's event streams: those of {@link relaySse}, except those that the request or its first answer decides.
 *
 * @example
 * ```ts
 * import { createSseProxy, type ProxyRelayOptions } from 'resilient-sse'
 *
 * const relay: ProxyRelayOptions = { heartbeat: 10_000, reconnect: { maxRetries: 3 } }
 * const listener = createSseProxy({ upstream: 'http://localhost:3000', relay })
 * ```
 */
export interface ProxyRelayOptions extends Pick<RelayOptions, keyof typeof proxyRelayOptions> {}

/**
 * Options that only shared streams have. Of the options of `relay`, those that concern one client's own upstream connection do not
 * apply to a shared stream: `onClientGone`, `comments`, `windowBytes` and `cursorAsId`.
 *
 * @example
 * ```ts
 * import { createSseHub, createSseProxy, type ProxySharedOptions } from 'resilient-sse'
 *
 * const shared: ProxySharedOptions = { linger: 60_000, retention: { events: 500 } }
 * const share = () => 'everything'
 * const listener = createSseProxy({ upstream: 'http://localhost:3000', hub: createSseHub(), share, shared })
 * ```
 */
export interface ProxySharedOptions extends Pick<SharedStreamOptions, keyof typeof logOptions> {}

const httpUrl: Kind<URL, string | URL> = written('URL', (value, name) => {
  const given = value instanceof URL ? value.href : value
  const url = typeof given === 'string' && URL.canParse(given) ? new URL(given) : undefined
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:'
  if (!url || !isHttp || url.username + url.password + url.search + url.hash !== '') {
    // Redacted, because messages are logged.
    const got = shown(typeof given === 'string' ? redactUrl(given) : given)
    const what = 'an http: or https: URL without credentials, query and fragment'
    throw new TypeError(`${name} must be ${what}, got ${got}`)
  }
  return url
})

const hostList: Kind<readonly string[]> = {
  text: { placeholder: 'HOST,...', parse: (text) => text.split(',').map((host) => host.trim()) },
  check(value: unknown, name) {
    const hosts: unknown[] = Array.isArray(value) ? value : [value]
    const texts = hosts.filter((host) => typeof host === 'string' && /^[^\s/?#@,]+$/.test(host))
    if (!Array.isArray(value) || texts.length !== hosts.length || texts.length === 0) {
      const got = Array.isArray(value)
        ? shown(hosts.find((host) => !texts.includes(host)) ?? value)
        : shown(value)
      throw new TypeError(`${name} must be a list of hosts, such as localhost or localhost:8080, got ${got}`)
    }
    return texts.map((host) => String(host).toLowerCase())
  },
}

const ownOptions = {
  upstream: required(httpUrl, 'the server that requests are passed on to'),
  /**
   * Header fields for each request to the upstream, such as `authorization`. They replace fields of the same name, the client's as
   * well as the proxy's. Default: none.
   */
  headers: withDefault(object<Readonly<Record<string, string | readonly string[]>>>('an object'), {}),
  /**
   * The most time until the head of the upstream's response, in milliseconds, for requests that accept `text/event-stream` and for
   * each attempt to reopen a stream. While the client sends its body, the time starts anew with each chunk. 0 means no limit.
   * Default 30000.
   */
  connectTimeout: withDefault(
    milliseconds(),
    30_000,
    "until the head of the upstream's response, for event streams; 0: no limit",
  ),
  /**
   * The most time until the head of the upstream's response, in milliseconds, for all other requests. 0 means no limit. Default 0,
   * because some answers are computed for minutes before their first byte.
   */
  responseTimeout: withDefault(
    milliseconds(),
    0,
    "until the head of the upstream's response, for other requests; 0: no limit",
  ),
  /**
   * What the proxy tells the upstream about the client, in `x-forwarded-for`, `-proto`, `-host` and `forwarded` (RFC 7239):
   *
   * - `'append'`: the client's address is appended to `x-forwarded-for`, whose last entry alone can be trusted. The other
   *   fields are replaced by what this server has seen.
   * - `'trust'`: for a server behind a proxy that sets these fields. Their values are kept. The peer's address is appended to
   *   `x-forwarded-for`, and to `forwarded` when the request has that field or none of them.
   * - `'off'`: none of these fields is sent, not even the client's own.
   *
   * Default `'append'`. `via` is always added (RFC 9110, 7.6.3).
   */
  forwarded: withDefault(
    choice('append', 'trust', 'off'),
    'append',
    'what becomes of x-forwarded-* and forwarded: trust keeps those of a proxy in front, off sends none',
  ),
  /** The `Host` that the upstream gets: its own, or the host that the client requested. Default `'upstream'`. */
  host: withDefault(
    choice('upstream', 'client'),
    'upstream',
    'the Host that the upstream gets: its own, or the one that the client requested',
  ),
  /**
   * The hosts that clients may request, such as `localhost` or `localhost:8080`; an entry without a port allows every port. A
   * request for another host, or without a host, is answered with 421 (RFC 9110, 15.5.20). This protects a server on a private address
   * from a web page whose own name was made to resolve to that address (DNS rebinding). Default: all hosts.
   */
  hosts: optional(hostList, 'hosts that clients may request, against DNS rebinding'),
  /** The agent that makes the connections, with its options for TLS. Default: an agent with `keepAlive`. */
  agent: optional(
    object<http.Agent>('an Agent of node:http or node:https', (value) => value instanceof http.Agent),
  ),
  /**
   * Shares event streams: clients with the same stream's name have one upstream connection, and get what they have missed when they
   * return. Only the answer to a GET without a body is shared. Paths whose answers are not event streams must not be shared: their
   * clients get a refusal, as with {@link relaySse}. Default: no stream is shared.
   */
  hub: optional(object<SseHub>('a hub made by createSseHub', ({ relay }) => typeof relay === 'function')),
  /**
   * Returns the name of the stream that answers a request; undefined: the answer is not shared. Whoever gets a stream may read all of
   * it, so different names are needed for all clients that may not see the same events. A name of more than 512 bytes is replaced
   * by a digest. Requires `hub`.
   *
   * Default: a GET whose `Accept` names `text/event-stream` is shared by its method, its path, and a digest of its query, its host and
   * its credentials, which are all header fields but those that are known to say nothing of what a client may see, such as
   * `user-agent`. A last event ID is not part of the name. The upstream's origin, `relay.name` and `headers` are in the digest too.
   */
  share: optional(callback<(req: ProxyRequest) => string | undefined>()),
  /** Called for each request that failed because of the upstream or of a function of the caller's. Default: none. */
  onError: optional(callback<(error: Error, req: ProxyRequest) => void>()),
  /** Logs each drop, retry, recovery and failure of an event stream, and has the shape of a pino logger. Default: none. */
  logger,
}

/** Checks the options before the first request. Defaults are left to {@link relaySse}. */
const relayKind: Kind<ProxyRelayOptions> = {
  check(given, name) {
    checkOptions(proxyRelayOptions, given, name, {
      createSseProxy: ownOptions,
      relaySse: relayOptions,
      createResilientSseSource: sourceOptions,
      [`${name}.reconnect`]: reconnectOptions,
    })
    return given
  },
}

const sharedKind: Kind<ProxySharedOptions> = {
  check(given, name) {
    checkOptions(logOptions, given, name, {
      relay: proxyRelayOptions,
      createSseHub: hubOptions,
      [`${name}.retention`]: retentionOptions,
    })
    return given
  },
}

export const proxyOptions = {
  ...ownOptions,
  /** Options that only shared streams have. Requires `hub`. */
  shared: optional(sharedKind),
  /** Options for event streams. */
  relay: withDefault(relayKind, {}),
}

/**
 * Options of {@link createSseProxy}.
 *
 * @example
 * ```ts
 * import { createSseProxy, type ProxyOptions } from 'resilient-sse'
 *
 * const options: ProxyOptions = { upstream: 'http://localhost:3000', headers: { authorization: 'Bearer secret' } }
 * const listener = createSseProxy(options)
 * ```
 */
export interface ProxyOptions extends OptionsOf<typeof proxyOptions> {
  /**
   * The server that requests are passed on to: an http: or https: URL without credentials, query and fragment. Its path is put in
   * front of the path of each request.
   */
  readonly upstream: string | URL
}

/** {@link ProxyOptions}, checked, with the defaults filled in. */
export interface CheckedProxyOptions extends Omit<ValuesOf<typeof proxyOptions>, 'headers' | 'agent'> {
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string[]>
  readonly agent: http.Agent
  /** Sends requests past node:http; undefined where only node:http sends them. */
  readonly direct: DirectRequests | undefined
  /** Where the upstream is, and the name that its certificate must have. */
  readonly address: Pick<RequestOptions, 'protocol' | 'hostname' | 'port' | 'servername'>
}

/** @throws `TypeError` or `RangeError` that names the wrong option and its value. */
export function checkProxyOptions(options: ProxyOptions): CheckedProxyOptions {
  const checked = checkOptions(proxyOptions, options, '', {
    relay: proxyRelayOptions,
    'relay.reconnect': reconnectOptions,
    shared: logOptions,
  })
  for (const name of ['share', 'shared'] as const) {
    if (checked[name] && !checked.hub)
      throw new TypeError(`${name} needs the option hub, made by createSseHub`)
  }
  const agent = checked.agent ?? makeAgent(checked.upstream.protocol, checked.relay.fastPath !== false)
  const address = addressOf(checked.upstream, checked.host)
  return {
    ...checked,
    headers: new Map(Object.entries(checked.headers).map(([name, value]) => fieldLines(name, value))),
    agent,
    address,
    direct: directRequestsTo(agent, address),
  }
}

function addressOf(upstream: URL, host: CheckedProxyOptions['host']): CheckedProxyOptions['address'] {
  const { protocol, hostname, port } = urlToHttpOptions(upstream)
  return {
    protocol,
    hostname,
    port,
    // Node would expect a certificate for the name in the Host field. For an address there is no name (RFC 6066, 3).
    ...(host === 'client' && { servername: hostname && !isIP(hostname) ? hostname : '' }),
  }
}

function fieldLines(name: string, value: unknown): [string, string[]] {
  const lines: unknown[] = Array.isArray(value) ? value : [value]
  const texts = lines.filter((line) => typeof line === 'string')
  if (texts.length !== lines.length)
    throw new TypeError(`headers.${name} must be a string, got ${shown(value)}`)
  if (isHopField(name.toLowerCase()))
    throw new TypeError(`headers.${name} cannot be set: it belongs to one connection`)
  try {
    http.validateHeaderName(name)
    for (const line of texts) http.validateHeaderValue(name, line)
  } catch (cause) {
    throw new TypeError(`headers.${name} must be a header field that can be sent`, { cause })
  }
  return [name.toLowerCase(), texts]
}
