import type { RequestListener } from 'node:http'
import { pipeline } from 'node:stream'
import {
  createDedupe,
  createResilientSseSource,
  createSerializer,
  EventTracker,
  httpUpstream,
  lastEventIdFrom,
  type SseEvent,
} from '../../dist/index.js'
import { writeHead } from './head.ts'

/** Events instead of bytes, with a stage of the user's own in between. */
export default function relay(upstream: URL): RequestListener {
  const factory = httpUpstream(upstream)
  return (req, res) => {
    writeHead(res)
    const tracker = new EventTracker({ lastEventId: lastEventIdFrom(req) })
    pipeline(
      createResilientSseSource(factory, { objectMode: true, dedupe: false, tracker }),
      createDedupe(tracker),
      pass,
      createSerializer(),
      res,
      () => {},
    )
  }
}

async function* pass(events: AsyncIterable<SseEvent>): AsyncGenerator<SseEvent> {
  for await (const event of events) yield event
}
