import http, { type RequestListener } from 'node:http'
import launchdarkly from 'launchdarkly-eventsource'
import { requestHeaders, writeHead } from './head.ts'
import { eventTypes, writeEvent } from './write-event.ts'

export default function relay(upstream: URL): RequestListener {
  // With Node's own agent it would take 5 s of silence for a dead connection, and reconnect.
  const agent = new http.Agent({ keepAlive: true })
  return (req, res) => {
    const { 'last-event-id': lastEventId } = requestHeaders(req)
    const headers: Record<string, string> = {}
    if (lastEventId !== undefined) headers['Last-Event-ID'] = lastEventId
    const source = new launchdarkly.EventSource(upstream.href, { agent, headers })
    // It would send the first one again with each of its own attempts.
    source.on('open', () => {
      delete headers['Last-Event-ID']
    })
    // Without a listener it would throw.
    source.on('error', () => {})
    writeHead(res)
    for (const type of eventTypes) {
      source.on(type, (event) => writeEvent(res, event.lastEventId, type, event.data))
    }
    res.on('close', () => source.close())
  }
}
