import type { RequestListener } from 'node:http'
import { EventSource, type FetchLike } from 'eventsource'
import { requestHeaders, writeHead } from './head.ts'
import { eventTypes, writeEvent } from './write-event.ts'

export default function relay(upstream: URL): RequestListener {
  return (req, res) => {
    // It knows no initial Last-Event-ID; what it sends itself from its second connection on is newer.
    const fetchFrom: FetchLike = (url, { headers, ...init }) =>
      fetch(url, { ...init, headers: { ...lowerCase(requestHeaders(req)), ...lowerCase(headers) } })
    const source = new EventSource(upstream, { fetch: fetchFrom })
    writeHead(res)
    for (const type of eventTypes) {
      source.addEventListener(type, (event) => {
        if (event instanceof MessageEvent) writeEvent(res, event.lastEventId, type, String(event.data))
      })
    }
    res.on('close', () => source.close())
  }
}

function lowerCase(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}
