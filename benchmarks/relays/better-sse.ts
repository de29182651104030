import type { RequestListener } from 'node:http'
import { createChannel, createSession } from 'better-sse'
import { createParser } from 'eventsource-parser'
import { createFeed } from './feed.ts'

export default function relay(upstream: URL): RequestListener {
  const channel = createChannel()
  const parser = createParser({
    onEvent: ({ id, event, data }) => {
      channel.broadcast(data, event, id === undefined ? {} : { eventId: id })
    },
  })
  const decoder = new TextDecoder()
  const feed = createFeed(upstream, (chunk) => parser.feed(decoder.decode(chunk, { stream: true })))
  channel.on('session-deregistered', () => {
    if (channel.sessionCount > 0) return
    feed.stop()
    parser.reset()
  })
  return async (req, res) => {
    // Its default serializer makes JSON of the data, which is text already.
    const session = await createSession(req, res, { serializer: String, keepAlive: null })
    channel.register(session)
    feed.start()
  }
}
