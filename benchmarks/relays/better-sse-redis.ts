import http, { type RequestListener } from 'node:http'
import { createChannel, createSession } from 'better-sse'
import { createParser } from 'eventsource-parser'
import { createClient } from 'redis'

/** The least that makes a fleet of better-sse: whoever is first reads the upstream, and publishes each event to all processes. */
export default async function relay(upstream: URL, redis: string): Promise<RequestListener> {
  const publisher = createClient({ url: redis })
  const subscriber = publisher.duplicate()
  await Promise.all([publisher.connect(), subscriber.connect()])
  const channels = new Map<string, Promise<ReturnType<typeof createChannel>>>()

  const follow = async (path: string) => {
    const channel = createChannel()
    await subscriber.subscribe(path, (data) => channel.broadcast(data, 'token'))
    return channel
  }
  const read = (path: string) => {
    const parser = createParser({ onEvent: ({ data }) => void publisher.publish(path, data) })
    const decoder = new TextDecoder()
    http.get(upstream, (response) => {
      response.on('error', () => {})
      response.on('data', (chunk) => parser.feed(decoder.decode(chunk, { stream: true })))
    })
  }
  return async (req, res) => {
    const path = req.url ?? '/'
    const isFirst = !channels.has(path)
    const following = channels.get(path) ?? follow(path)
    channels.set(path, following)
    const channel = await following
    // Its default serializer makes JSON of the data, which is text already.
    const session = await createSession(req, res, { serializer: String, keepAlive: null })
    channel.register(session)
    if (isFirst && (await publisher.set(`${path}:owner`, '1', { condition: 'NX' }))) read(path)
  }
}
