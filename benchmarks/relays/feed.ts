import http from 'node:http'

/** How often clients get a comment while nothing else is sent, in milliseconds. */
export const heartbeat = 2000

/** Reads one event stream for all clients of a process, from the first call on. */
export function createFeed(upstream: URL, onChunk: (chunk: Buffer) => void): { start(): void; stop(): void } {
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
