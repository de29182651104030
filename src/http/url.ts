/** Makes a URL safe for logs: without credentials, query values and fragment. */
export function redactUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed?.host) return redactText(url)
  const { protocol, host, pathname, searchParams } = parsed
  const names = [...new Set(searchParams.keys())].map((name) => `${encodeURIComponent(name)}=*`)
  return `${protocol}//${host}${pathname}${names.length > 0 ? `?${names.join('&')}` : ''}`
}

/** Does the same for text that is not a valid URL, such as a path, a name, or a URL with a mistake. */
function redactText(text: string): string {
  const withoutQuery = text.replace(/[?#].*$/s, '')
  // A path alone has no credentials.
  if (!text.includes('@') || /^\/(?!\/)/.test(text)) return withoutQuery
  const [, scheme = '', userinfo = ''] = /^((?:[a-z][a-z\d+.-]*:)?\/\/)?(.*)@/is.exec(text) ?? []
  // In an invalid URL the password may contain a delimiter: the end of the password is then unknown.
  if (/[/?#@]/.test(userinfo)) return `${scheme}*`
  return scheme + withoutQuery.slice(scheme.length + userinfo.length + 1)
}
