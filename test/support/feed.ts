import type { UpstreamFactory } from '../../src/index.ts'
import { wire } from './events.ts'
import { serve, stream } from './server.ts'

/** An upstream with an event for each call of `send`, which goes on behind the last event ID, as a feed does. */
export async function countingUpstream() {
  let count = 0
  let flush = () => {}
  const server = await serve((request, response) => {
    let sent = Number(request.headers['last-event-id'] ?? 0)
    stream(response)
    flush = () => {
      while (sent < count) response.write(wire(++sent))
    }
    flush()
  })
  return Object.assign(server, {
    async send() {
      count++
      flush()
      await new Promise((resolve) => setImmediate(resolve))
    },
  })
}

/** A factory whose request must be sent only once. */
export function postUpstream(url: string): UpstreamFactory {
  return Object.assign<UpstreamFactory, { method: string }>(
    async ({ headers, signal }) => fetch(url, { method: 'POST', headers, signal }),
    { method: 'POST' },
  )
}

/** The data of the events from one number to another one. */
export function numbered(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, n) => `event ${from + n}`)
}
