import type { ProxyRequest } from './downstream.ts'

/**
 * The path and query to request from the upstream, or undefined when the request target is refused.
 *
 * A client chooses a path below the upstream's path, never the host and never a path above. The host of an absolute-form (RFC
 * 9112, 3.2.2) is therefore ignored, and `..` is refused in every spelling.
 *
 * All other characters that Node's parser accepts are passed on, even where RFC 3986 does not allow them: browsers and fetch send
 * `|`, `^`, `{` and, in a query, `\` unescaped (URL Standard, 1.3 and 4.4).
 */
export function targetOf(requestTarget: string, upstream: URL): string | undefined {
  const target = requestTarget.startsWith('/') ? requestTarget : requestTarget.replace(absoluteForm, '')
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  // An absolute-form may have no path.
  const rooted = path === '' && target !== requestTarget ? `/${target}` : target
  // A fragment is never sent (RFC 9110, 4.2.5); white space and control characters would end the request line.
  if (!/^\/[\x21\x22\x24-\x7e\x80-\xff]*$/.test(rooted)) return undefined
  if (!/\.\.|%2e/i.test(path)) return prefixOf(upstream) + rooted
  const decoded = path.replace(/%(2e|2f|5c)/gi, (code) => decodeURIComponent(code))
  // Some servers read a backslash as a slash, and some ignore a segment's parameters (`..;a=b`).
  const climbs = decoded.split(/[/\\]/).some((segment) => segment.split(';', 1)[0] === '..')
  return climbs ? undefined : prefixOf(upstream) + rooted
}

function prefixOf({ pathname }: URL): string {
  return pathname === '/' ? '' : pathname.replace(/\/+$/, '')
}

/**
 * The host that a client requests, with the port if the client names one: from an absolute-form (RFC 9112, 3.2.2), or else from
 * `:authority` or `Host`. Undefined without a host, which HTTP/1.0 allows.
 */
export function hostOf({ url = '', headers }: ProxyRequest): string | undefined {
  const [, authority] = url.startsWith('/') ? [] : (absoluteForm.exec(url) ?? [])
  const host = authority ?? headers[':authority'] ?? headers.host
  if (typeof host !== 'string' || host === '') return undefined
  return host.slice(host.lastIndexOf('@') + 1)
}

/** Whether a host is in a list of lower-case hosts. An entry without a port matches every port. */
export function isListedHost(host: string | undefined, hosts: readonly string[]): boolean {
  const requested = host?.toLowerCase()
  return (
    requested !== undefined && (hosts.includes(requested) || hosts.includes(requested.replace(/:\d*$/, '')))
  )
}

/** Removes the last event ID from the query of a path; everything else stays unchanged. */
export function withoutLastEventId(target: string): string {
  const [path = '', ...rest] = target.split('?')
  const pairs = rest.join('?').split('&')
  const kept = pairs.filter((pair) => !isLastEventIdName([...new URLSearchParams(pair).keys()][0] ?? ''))
  if (kept.length === pairs.length) return target
  return kept.join('&') === '' ? path : `${path}?${kept.join('&')}`
}

const absoluteForm = /^https?:\/\/([^/?#]*)/i

/** Whether a parameter's name is one that `lastEventIdFrom` reads. */
function isLastEventIdName(name: string): boolean {
  return ['lasteventid', 'last_event_id', 'last-event-id'].includes(name.toLowerCase())
}
