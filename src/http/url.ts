/** A URL that may stand in a log: without credentials, query values and fragment. */
export function redactUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed?.host) return redactText(url)
  const { protocol, host, pathname, searchParams } = parsed
  const names = [...new Set(searchParams.keys())].map((name) => `${encodeURIComponent(name)}=*`)
  return `${protocol}//${host}${pathname}${names.length > 0 ? `?${names.join('&')}` : ''}`
}

/** The same for what is no URL, such as a path, a name, or a URL with a mistake in it. */
function redactText(text: string): string {
  const withoutQuery = text.replace(/[?#].*$/s, '')
  // A path alone has no credentials.
  if (!text.includes('@') || /^\/(?!\/)/.test(text)) return withoutQuery
  const [, scheme = '', userinfo = ''] = /^((?:[a-z][a-z\d+.-]*:)?\/\/)?(.*)@/is.exec(text) ?? []
  // In a URL with a mistake the password may hold what ends it elsewhere: where it ends is then anybody's guess.
  if (/[/?#@]/.test(userinfo)) return `${scheme}*`
  return scheme + withoutQuery.slice(scheme.length + userinfo.length + 1)
}
