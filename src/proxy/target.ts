/**
 * The path and query to ask the upstream for, or undefined where a request target is refused.
 *
 * A client chooses what is behind the upstream's path, never the host, and never something above that path. The host
 * of an absolute-form (RFC 9112, 3.2.2) is therefore not looked at, and a `..` is refused, however it is written.
 */
export function targetOf(requestTarget: string, upstream: URL): string | undefined {
  const target = requestTarget.replace(/^https?:\/\/[^/?#]*/i, '')
  const [path = ''] = target.split('?', 1)
  // An absolute-form may have no path.
  const rooted = path === '' && target !== requestTarget ? `/${target}` : target
  // Neither a fragment nor a backslash, which some take for a slash, can be in a request target (RFC 3986, 3.3).
  if (!/^\/[\x21\x22\x24-\x5b\x5d-\x7e\x80-\xff]*$/.test(rooted)) return undefined
  const decoded = path.replace(/%(2e|2f|5c)/gi, (code) => decodeURIComponent(code))
  // A parameter does not make a segment another one for everybody (`..;a=b`).
  const climbs = decoded.split(/[/\\]/).some((segment) => segment.split(';', 1)[0] === '..')
  return climbs ? undefined : upstream.pathname.replace(/\/+$/, '') + rooted
}
