import type { RequestListener } from 'node:http'
import { createEventSource } from 'eventsource-client'
import { requestHeaders, writeHead } from './head.ts'
import { writeEvent } from './write-event.ts'

export default function relay(upstream: URL): RequestListener {
  return (req, res) => {
    const { 'last-event-id': initialLastEventId } = requestHeaders(req)
    const source = createEventSource({
      url: upstream,
      ...(initialLastEventId !== undefined && { initialLastEventId }),
      onMessage: ({ id, event, data }) => writeEvent(res, id, event, data),
    })
    writeHead(res)
    res.on('close', () => source.close())
  }
}
