import http from 'node:http'
import https from 'node:https'
import type { Logger } from '../diagnostics.ts'
import { shown } from '../errors.ts'
import { longestTimer } from '../http/deadline.ts'
import { isHopField } from '../http/fields.ts'
import { checkSourceOptions, expectOptional, flag, number, oneOf } from '../reconnect/options.ts'
import type { RelayOptions } from '../relay/options.ts'

/** What a proxy's event streams may be told; what the request or its first answer decides is not among it. */
export type ProxyRelayOptions = Omit<
  RelayOptions,
  'initialResponse' | 'lastEventId' | 'cursor' | 'head' | 'headTimeout' | 'connectTimeout' | 'logger'
>

/** Options of {@link createSseProxy}. */
export interface ProxyOptions {
  /**
   * Where requests go: an http: or https: URL without credentials, query and fragment. Its path is put in front of
   * the path of each request.
   */
  readonly upstream: string | URL
  /** For event streams. */
  readonly relay?: ProxyRelayOptions | undefined
  /** Header fields for each request to the upstream, in place of the client's and of ours. Default: none. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>> | undefined
  /**
   * The most time until the upstream's response has begun, in milliseconds; while the client's body is on its way,
   * since its last part. 0 means no limit. Default 30000.
   */
  readonly connectTimeout?: number | undefined
  /** Makes the connections, and holds what TLS needs. Default: one with `keepAlive`. */
  readonly agent?: http.Agent | undefined
  /** Told of each request that the upstream, or a function of the caller's, has failed. */
  readonly onError?: ((error: Error, req: http.IncomingMessage) => void) | undefined
  /** Gets a line for each drop, retry, recovery and failure of an event stream; a pino logger fits. Default: none. */
  readonly logger?: Logger | undefined
}

/** {@link ProxyOptions}, checked, with the defaults filled in. */
export interface CheckedProxyOptions {
  readonly upstream: URL
  readonly relay: ProxyRelayOptions
  readonly headers: ReadonlyMap<string, string[]>
  readonly connectTimeout: number
  readonly agent: http.Agent
  readonly onError: ProxyOptions['onError']
  readonly logger: Logger | undefined
}

/** @throws `TypeError` or `RangeError` that names the option and what it got. */
export function checkProxyOptions(options: ProxyOptions): CheckedProxyOptions {
  const upstream = upstreamOf(options.upstream)
  const { relay = {}, headers = {}, agent, onError, logger } = options
  for (const [name, value] of Object.entries({ relay, headers })) {
    if (typeof value !== 'object' || value === null) {
      throw new TypeError(`${name} must be an object, got ${shown(value)}`)
    }
  }
  if (agent !== undefined && !(agent instanceof http.Agent)) {
    throw new TypeError(`agent must be an Agent of node:http or node:https, got ${shown(agent)}`)
  }
  expectOptional(onError, 'function', 'onError')
  checkSourceOptions({ ...relay, logger })
  expectOptional(relay.errorEvent, 'function', 'errorEvent')
  number(relay.heartbeat, 'heartbeat', 0, 0, longestTimer)
  number(relay.retry, 'retry', 0, 0, longestTimer)
  oneOf(relay.onClientGone, 'onClientGone', ['abort', 'drain'])
  flag(relay.statusEvents, 'statusEvents', false)
  return {
    upstream,
    relay,
    headers: new Map(Object.entries(headers).map(([name, value]) => fieldLines(name, value))),
    connectTimeout: number(options.connectTimeout, 'connectTimeout', 30_000, 0, longestTimer),
    agent: agent ?? new (upstream.protocol === 'https:' ? https : http).Agent({ keepAlive: true }),
    onError,
    logger,
  }
}

function upstreamOf(value: string | URL): URL {
  // Not shown when it is wrong: it may hold a password.
  if (!URL.canParse(String(value))) throw new TypeError('upstream must be an http: or https: URL')
  const url = new URL(value)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new TypeError(`upstream must be an http: or https: URL, got ${url.protocol}`)
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new TypeError(
      'upstream must have no credentials, query or fragment; headers can hold an authorization',
    )
  }
  return url
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
