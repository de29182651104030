import http, { type ServerResponse } from 'node:http'

/** How often clients get a comment while nothing else is sent, in milliseconds. */
export const heartbeat = 2000

/** An event stream that is read for all clients of a process. */
interface Feed {
  start(): void
  stop(): void
}

/** Reads one event stream for all clients of a process, from the first call on. */
export function createFeed(upstream: URL, onChunk: (chunk: Buffer) => void): Feed {
  let request: http.ClientRequest | undefined
  return {
    start() {
      if (request) return
      request = http.get(upstream, (response) => {
        response.on('error', () => {})
        response.on('data', onChunk)
      })
      request.on('error', () => {})
    },
    stop() {
      request?.destroy()
      request = undefined
    },
  }
}

/** Adds a response to those that get a feed, until the response is closed. The feed is read while it has responses. */
export function joinFeed(feed: Feed, responses: Set<ServerResponse>, res: ServerResponse): void {
  responses.add(res)
  feed.start()
  res.on('close', () => {
    responses.delete(res)
    if (responses.size === 0) feed.stop()
  })
}
