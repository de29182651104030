import http from 'node:http'
import https from 'node:https'
import { shown } from '../errors.ts'
import { isHopField } from '../http/fields.ts'
import { redactUrl } from '../http/url.ts'
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

// What the request or its first answer decides, and what is an option of the proxy itself.
const { initialResponse, lastEventId, cursor, head, connectTimeout, logger, ...ofRelays } = relayOptions
export const proxyRelayOptions = ofRelays

/** What a proxy's event streams may be told; what the request or its first answer decides is not among it. */
export interface ProxyRelayOptions extends Pick<RelayOptions, keyof typeof proxyRelayOptions> {}

const httpUrl: Kind<URL, string | URL> = written('URL', (value, name) => {
  const given = value instanceof URL ? value.href : value
  const url = typeof given === 'string' && URL.canParse(given) ? new URL(given) : undefined
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:'
  if (!url || !isHttp || url.username + url.password + url.search + url.hash !== '') {
    // Redacted, as messages go to logs.
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
  upstream: required(httpUrl, 'where requests are passed on to'),
  /**
   * Header fields for each request to the upstream, such as an authorization, in place of the client's and of ours.
   * Default: none.
   */
  headers: withDefault(object<Readonly<Record<string, string | readonly string[]>>>('an object'), {}),
  /**
   * The most time until the upstream's response has begun, in milliseconds, for requests that accept
   * `text/event-stream`, and for each attempt to reopen a stream; while the client's body is on its way, since its last
   * part. 0 means no limit. Default 30000.
   */
  connectTimeout: withDefault(
    milliseconds(),
    30_000,
    "until the head of the upstream's response, for event streams; 0: no limit",
  ),
  /**
   * The same for all other requests: some answers are computed for minutes before their first byte. 0 means no limit.
   * Default 0.
   */
  responseTimeout: withDefault(
    milliseconds(),
    0,
    "until the head of the upstream's response, for other requests; 0: no limit",
  ),
  /**
   * What the upstream is told of the client, in `x-forwarded-for`, `-proto`, `-host` and `forwarded` (RFC 7239):
   *
   * - `'append'`: the client's address is added to `x-forwarded-for`, of which only the last entry can be believed then;
   *   the others say what this server has seen, and nothing else.
   * - `'trust'`: for a server behind a proxy that sets them. What they say stays; the peer's address is added to
   *   `x-forwarded-for` and, where there is one or nothing was said, to `forwarded`.
   * - `'off'`: none are sent, not even the client's own.
   *
   * Default `'append'`. `via` is always added (RFC 9110, 7.6.3).
   */
  forwarded: withDefault(
    choice('append', 'trust', 'off'),
    'append',
    'whether x-forwarded-* and forwarded of whoever stands in front are believed, or none sent',
  ),
  /** Whose `Host` the upstream gets: its own, or the one that the client asked for. Default `'upstream'`. */
  host: withDefault(choice('upstream', 'client'), 'upstream', 'whose Host the upstream gets'),
  /**
   * The hosts that clients may ask for, such as `localhost` or `localhost:8080`; without a port, on every port. Others,
   * and requests without a host, get a 421, which is how a server refuses an authority that it does not answer for (RFC
   * 9110, 15.5.20): a web page whose name has been made to point here (DNS rebinding) then gets nothing. Default: all.
   */
  hosts: optional(hostList, 'hosts that clients may ask for, against DNS rebinding'),
  /** Makes the connections, and holds what TLS needs. Default: one with `keepAlive`. */
  agent: optional(
    object<http.Agent>('an Agent of node:http or node:https', (value) => value instanceof http.Agent),
  ),
  /** Told of each request that the upstream, or a function of the caller's, has failed. */
  onError: optional(callback<(error: Error, req: ProxyRequest) => void>()),
  /** Gets a line for each drop, retry, recovery and failure of an event stream; a pino logger fits. Default: none. */
  logger,
}

/** Checked here, so that a wrong option is refused before the first request; what is absent is left to {@link relaySse}. */
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

export const proxyOptions = {
  ...ownOptions,
  /** For event streams. */
  relay: withDefault(relayKind, {}),
}

/** Options of {@link createSseProxy}. */
export interface ProxyOptions extends OptionsOf<typeof proxyOptions> {
  /**
   * Where requests go: an http: or https: URL without credentials, query and fragment. Its path is put in front of
   * the path of each request.
   */
  readonly upstream: string | URL
}

/** {@link ProxyOptions}, checked, with the defaults filled in. */
export interface CheckedProxyOptions extends Omit<ValuesOf<typeof proxyOptions>, 'headers' | 'agent'> {
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string[]>
  readonly agent: http.Agent
}

/** @throws `TypeError` or `RangeError` that names the option and what it got. */
export function checkProxyOptions(options: ProxyOptions): CheckedProxyOptions {
  const checked = checkOptions(proxyOptions, options, '', {
    relay: proxyRelayOptions,
    'relay.reconnect': reconnectOptions,
  })
  const { Agent } = checked.upstream.protocol === 'https:' ? https : http
  return {
    ...checked,
    headers: new Map(Object.entries(checked.headers).map(([name, value]) => fieldLines(name, value))),
    agent: checked.agent ?? new Agent({ keepAlive: true }),
  }
}

function fieldLines(name: string, value: unknown): [string, string[]] {
  const lines: unknown[] = Array.isArray(value) ? value : [value]
  const texts = lines.filter((line) => typeof line === 'string')
  if (texts.length !== lines.length)
    throw new TypeError(`headers.${name} must be a string, got ${shown(value)}`)
  if (isHopField(name.toLowerCase()))
    throw new TypeError(`headers.${name} cannot be set: it is for one hop only`)
  try {
    http.validateHeaderName(name)
    for (const line of texts) http.validateHeaderValue(name, line)
  } catch (cause) {
    throw new TypeError(`headers.${name} must be a header field that can be sent`, { cause })
  }
  return [name.toLowerCase(), texts]
}
