/** A URL that may stand in a log: without credentials, query values and fragment. */
export function redactUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed?.host) return url.replace(/[?#].*$/s, '').replace(/^((?:[a-z][a-z\d+.-]*:)?\/\/)?[^/]*@/i, '$1')
  const { protocol, host, pathname, searchParams } = parsed
  const names = [...new Set(searchParams.keys())].map((name) => `${encodeURIComponent(name)}=*`)
  return `${protocol}//${host}${pathname}${names.length > 0 ? `?${names.join('&')}` : ''}`
}
