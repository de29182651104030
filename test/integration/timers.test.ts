import type { ServerResponse } from 'node:http'
import { mock } from 'node:test'
import { expect } from 'chai'
import { createResilientSseSource, httpUpstream } from '../../src/index.ts'
import { type Client, get } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { proxyTo, relayTo } from '../support/gateway.ts'
import { serveHub } from '../support/hub.ts'
import { serve, stream, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Something that opens streams of an upstream; `text` is what the latest stream has got. */
interface Opener extends AsyncDisposable {
  open(): Promise<() => string>
}

function openerOf(gateway: AsyncDisposable & { readonly url: string }): Opener {
  const clients: Client[] = []
  return {
    async open() {
      const client = await get(`${gateway.url}/${clients.length}`, { accept: 'text/event-stream' })
      clients.push(client)
      return () => client.text
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.leave()
      await gateway[Symbol.asyncDispose]()
    },
  }
}

const openers: Record<string, (upstream: TestServer) => Promise<Opener>> = {
  'a relay': async ({ url }) => openerOf(await relayTo(url)),
  'a proxy': async ({ port }) => openerOf(await proxyTo(port)),
  // Its own checks are rare enough to stay out of the count, also where the test takes long.
  'a hub': async ({ url }) => openerOf(await serveHub(url, { hub: { lease: 60_000, poll: 60_000 } })),
  'a source': async ({ url }) => {
    const sources = new Set<{ destroy(): void }>()
    return {
      async open() {
        let text = ''
        const source = createResilientSseSource(httpUpstream(url))
        source.on('data', (chunk: Buffer) => {
          text += chunk
        })
        sources.add(source)
        return () => text
      },
      async [Symbol.asyncDispose]() {
        for (const source of sources) source.destroy()
      },
    }
  },
}

describe('timers of Node', () => {
  for (const [name, opener] of Object.entries(openers)) {
    it(`are not set for each stream of ${name}, nor for each chunk`, async () => {
      const responses: ServerResponse[] = []
      await using upstream = await serve((_, response) => responses.push(stream(response, wire(1, 'first'))))
      await using streams = await opener(upstream)
      const texts: (() => string)[] = []
      const openMore = async (count: number) => {
        for (let n = 0; n < count; n++) {
          const text = await streams.open()
          texts.push(text)
          await until(
            () => text().includes('data: first\n'),
            () => 'the first event',
          )
        }
      }
      await openMore(3)
      const setTimer = mock.method(globalThis, 'setTimeout')
      try {
        await openMore(30)
        for (let id = 2; id <= 10; id++) {
          for (const response of responses) response.write(wire(id, `event ${id}`))
          await until(
            () => texts.every((text) => text().includes(`data: event ${id}\n`)),
            () => `event ${id} on all streams`,
          )
        }
      } finally {
        setTimer.mock.restore()
      }
      // A timer for each stream would be 30, and the wheel may set its own for an earlier deadline.
      expect(setTimer.mock.callCount()).to.be.below(30)
    })
  }
})
