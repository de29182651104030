import { createHash } from 'node:crypto'
import { tokensOf } from '../http/fields.ts'
import { isEventStream } from '../http/media-type.ts'
import { hasBody } from '../relay/client.ts'
import type { ProxyRequest } from './downstream.ts'
import { clientFields } from './forwarding.ts'
import type { CheckedProxyOptions } from './options.ts'
import { hostOf, withoutLastEventId } from './target.ts'

/** The most bytes of a shared stream's name. */
const longestName = 512

/**
 * The fields that say nothing of what a client may see: its program, its place in the stream, its network, and the trace of the
 * request. All others count as credentials, because an API may take its key from a field of any name.
 */
const noCredentials: readonly string[] = [
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'b3',
  'cache-control',
  'cdn-loop',
  'cf-connecting-ip',
  'cf-ipcountry',
  'cf-ray',
  'cf-visitor',
  'content-length',
  'dnt',
  'expect',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-event-id',
  'pragma',
  'priority',
  'range',
  'referer',
  'save-data',
  'sec-gpc',
  'te',
  'traceparent',
  'tracestate',
  'true-client-ip',
  'user-agent',
  'via',
  'x-amzn-trace-id',
  'x-client-ip',
  'x-cloud-trace-context',
  'x-correlation-id',
  'x-forwarded-for',
  'x-real-ip',
  'x-request-id',
]

/** The same, by the beginning of their names. */
const noCredentialsFrom = /^(sec-ch-|sec-fetch-|x-b3-)/

/**
 * The name of the shared stream that answers a request; undefined when the answer is not shared.
 *
 * @param path - The path and query that the upstream is asked for.
 * @throws `TypeError` for a name that is not a string, and what the option `share` throws.
 */
export function streamName(
  options: CheckedProxyOptions,
  req: ProxyRequest,
  path: string,
): string | undefined {
  const { hub, share } = options
  if (hub === undefined || req.method !== 'GET' || hasBody(req)) return undefined
  const name: unknown = share ? share(req) : defaultName(options, req, path)
  if (name === undefined) return undefined
  if (typeof name !== 'string' || name === '')
    throw new TypeError('share must return the name of a stream, or undefined')
  return Buffer.byteLength(name) > longestName ? `GET ${digestOf(name)}` : name
}

/**
 * Method, path, and a digest of everything else by which an upstream may tell clients apart. The query is in the digest too: it may
 * hold a secret, and names are logged and stored.
 */
function defaultName(options: CheckedProxyOptions, req: ProxyRequest, target: string): string | undefined {
  const fields = clientFields(req)
  if (!tokensOf(fields.get('accept')).some(isEventStream)) return undefined
  const [path = '', ...query] = withoutLastEventId(target).split('?')
  const credentials = [...fields].filter(
    ([name]) => !noCredentials.includes(name) && !noCredentialsFrom.test(name),
  )
  const { upstream, headers, relay } = options
  const parts = [
    // Several proxies may use one hub.
    [upstream.origin, relay.name, ...headers],
    hostOf(req)?.toLowerCase(),
    query,
    // Sorted: the order of fields means nothing (RFC 9110, 5.3).
    credentials.sort(([one], [other]) => (one < other ? -1 : 1)),
  ]
  return `GET ${path} ${digestOf(JSON.stringify(parts))}`
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
