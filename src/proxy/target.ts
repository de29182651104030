import type { ProxyRequest } from './downstream.ts'

/**
 * The path and query to ask the upstream for, or undefined where a request target is refused.
 *
 * A client chooses what is behind the upstream's path, never the host, and never something above that path. The host
 * of an absolute-form (RFC 9112, 3.2.2) is therefore not looked at, and a `..` is refused, however it is written.
 *
 * Everything else goes through that a parser of requests lets in, also what RFC 3986 does not allow: browsers and fetch
 * send `|`, `^`, `{` and, in a query, `\` as they are (URL Standard, 1.3 and 4.4).
 */
export function targetOf(requestTarget: string, upstream: URL): string | undefined {
  const target = requestTarget.replace(absoluteForm, '')
  const [path = ''] = target.split('?', 1)
  // An absolute-form may have no path.
  const rooted = path === '' && target !== requestTarget ? `/${target}` : target
  // A fragment is never sent (RFC 9110, 4.2.5), and white space and controls would end the request line.
  if (!/^\/[\x21\x22\x24-\x7e\x80-\xff]*$/.test(rooted)) return undefined
  const decoded = path.replace(/%(2e|2f|5c)/gi, (code) => decodeURIComponent(code))
  // Some take a backslash for a slash, and a parameter does not make a segment another one for everybody (`..;a=b`).
  const climbs = decoded.split(/[/\\]/).some((segment) => segment.split(';', 1)[0] === '..')
  return climbs ? undefined : upstream.pathname.replace(/\/+$/, '') + rooted
}

/**
 * The host that a client asks for, with its port where it named one: of an absolute-form (RFC 9112, 3.2.2), or else of
 * `:authority` or `Host`. Undefined where there is none, as HTTP/1.0 allows.
 */
export function hostOf({ url = '', headers }: ProxyRequest): string | undefined {
  const [, authority] = absoluteForm.exec(url) ?? []
  const host = authority ?? headers[':authority'] ?? headers.host
  return typeof host === 'string' && host !== '' ? host.replace(/^.*@/, '') : undefined
}

/**
 * Whether a host is in a list of hosts in lower case. An entry without a port stands for every port.
 */
export function isListedHost(host: string | undefined, hosts: readonly string[]): boolean {
  const asked = host?.toLowerCase()
  return asked !== undefined && (hosts.includes(asked) || hosts.includes(asked.replace(/:\d*$/, '')))
}

/** A path and query without the parameters that say where an event stream is to be resumed; the rest stays as it is. */
export function withoutLastEventId(target: string): string {
  const [path = '', ...rest] = target.split('?')
  const kept = rest
    .join('?')
    .split('&')
    .filter((pair) => !isLastEventId([...new URLSearchParams(pair).keys()][0] ?? ''))
  return kept.join('&') === '' ? path : `${path}?${kept.join('&')}`
}

const absoluteForm = /^https?:\/\/([^/?#]*)/i

/** The names that `lastEventIdFrom` knows. */
function isLastEventId(name: string): boolean {
  return ['lasteventid', 'last_event_id', 'last-event-id'].includes(name.toLowerCase())
}
