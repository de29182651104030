import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
import { mock } from 'node:test'
import { expect } from 'chai'
import { createSerializer, createSseHub, httpUpstream, type SseEvent, type SseHub } from '../../src/index.ts'
import { ask, has } from '../support/client.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { dataIn, eventSource, serveHub } from '../support/hub.ts'
import { ends, flood, isLeft, resets, serve, serveInTurn, stays } from '../support/server.ts'

const terminal = { isTerminal: lastIs('end') }

async function withHub(use: (hub: SseHub) => Promise<void>): Promise<void> {
  const hub = createSseHub()
  try {
    await use(hub)
  } finally {
    await hub.close()
  }
}

describe('a subscription of a shared stream', () => {
  it('yields bytes, or events with the ids of the stream, from one upstream connection', () =>
    withHub(async (hub) => {
      await using upstream = await serve(
        stays(wire('a', 'event 1'), 'event: x\ndata: 2\n\n', wire('b', 'end')),
      )
      const factory = httpUpstream(upstream.url)
      const [bytes, events] = await Promise.all([
        hub.subscribe('feed', factory, { ...terminal, from: 'start' }).toArray(),
        hub.subscribe('feed', factory, { ...terminal, from: 'start', objectMode: true }).toArray(),
      ])
      const text = Buffer.concat(bytes).toString()
      expect(text).to.match(
        /^id: \d+-1\/a\ndata: event 1\n\nid: \d+-2\/a\nevent: x\ndata: 2\n\nid: \d+-3\/b\ndata: end\n\n$/,
      )
      const ids = Array.from(text.matchAll(/^id: (.*)$/gm), ([, id = '']) => id)
      expect(events).to.deep.equal([
        { id: ids[0], event: undefined, data: 'event 1', lastEventId: ids[0] },
        { id: ids[1], event: 'x', data: '2', lastEventId: ids[1] },
        { id: ids[2], event: undefined, data: 'end', lastEventId: ids[2] },
      ])
      expect(upstream.requests).to.have.length(1)
    }))

  it('goes on from a last event ID, also when it was destroyed in the middle', () =>
    withHub(async (hub) => {
      await using upstream = await serve(stays(wire(1), wire(2), wire(3), wire(4, 'end')))
      const options = { ...terminal, from: 'start', objectMode: true } as const
      const seen: SseEvent[] = []
      let lastEventId = ''
      while (seen.at(-1)?.data !== 'end') {
        const subscription = hub.subscribe('feed', httpUpstream(upstream.url), { ...options, lastEventId })
        for await (const event of subscription) {
          seen.push(event)
          lastEventId = event.lastEventId ?? ''
          break
        }
      }
      expect(seen.map(({ data }) => data)).to.deep.equal(['event 1', 'event 2', 'event 3', 'end'])
    }))

  it('is composed in a pipeline', () =>
    withHub(async (hub) => {
      await using upstream = await serve(stays(wire(1), wire(2, 'end')))
      const options = { ...terminal, from: 'start', objectMode: true } as const
      const texts: string[] = []
      await pipeline(
        hub.subscribe('feed', httpUpstream(upstream.url), options),
        createSerializer(),
        async function* (chunks: AsyncIterable<Buffer>) {
          for await (const chunk of chunks) texts.push(chunk.toString())
          yield ''
        },
        async (rest) => {
          for await (const _ of rest);
        },
      )
      expect(dataIn({ text: texts.join('') })).to.deep.equal(['event 1', 'end'])
    }))

  it('opens nothing before it is read, and closes the upstream after it is destroyed', () =>
    withHub(async (hub) => {
      await using upstream = await serve(stays(wire(1)))
      const subscription = hub.subscribe('feed', httpUpstream(upstream.url), { linger: 0 })
      expect(await hub.status('feed')).to.equal(undefined)
      expect(String(await once(subscription, 'data'))).to.include('event 1')
      expect(subscription.lastEventId).to.match(/^\d+-1$/)
      subscription.destroy()
      await isLeft(upstream)
    }))

  it('does not stop the upstream when it is not read: other readers go on', () =>
    withHub(async (hub) => {
      await using upstream = await serve((_, response) => flood(response))
      const factory = httpUpstream(upstream.url)
      const idle = hub.subscribe('feed', factory, { linger: 0 }).once('readable', () => {})
      const reader = hub.subscribe('feed', factory, { linger: 0 })
      let bytes = 0
      for await (const chunk of reader) {
        bytes += chunk.length
        if (bytes > 50_000_000) break
      }
      expect(idle.readableLength).to.be.below(200_000)
      idle.destroy()
      await isLeft(upstream)
    }))

  it('emits gap, or fails with onGap refuse, for an id that the stream does not have', () =>
    withHub(async (hub) => {
      await using upstream = await serve(stays(wire(1), wire(2)))
      const factory = httpUpstream(upstream.url)
      const first = hub.subscribe('feed', factory, { from: 'start' })
      await once(first, 'data')
      const second = hub.subscribe('feed', factory, { lastEventId: '1-1' }).resume()
      expect(await once(second, 'gap')).to.deep.equal(['trimmed'])
      const third = hub.subscribe('feed', factory, { lastEventId: 'x', onGap: 'refuse' }).resume()
      const [error] = await once(third, 'error')
      expect(error).to.include({ code: 'ERR_SSE_STREAM_GONE' })
      first.destroy()
      second.destroy()
    }))

  it('emits gap when the upstream could not be resumed, and clients get a status event', () =>
    withHub(async (hub) => {
      await using upstream = await serveInTurn(resets('data: 1\n\n'), stays('data: 2\n\n'))
      const options = { from: 'start', reconnect: fast } as const
      const subscription = hub.subscribe('feed', httpUpstream(upstream.url), options).resume()
      expect(await once(subscription, 'gap')).to.deep.equal(['upstream'])
      subscription.destroy()
      await using again = await serveInTurn(resets('data: 1\n\n'), stays('data: 2\n\n'))
      await using feed = await serveHub(again.url, { from: 'start', statusEvents: true })
      using client = ask(feed.url)
      await has(client, 'data: 2')
      expect(client.text).to.include('{"status":"gap"}')
    }))

  it('is not ended by maxAge, which it sets for the responses of the stream that it opens', () =>
    withHub(async (hub) => {
      await using upstream = await serve(stays(wire(1)))
      const factory = httpUpstream(upstream.url)
      const subscription = hub.subscribe('feed', factory, { maxAge: 50 })
      await once(subscription, 'data')
      const request = new Request('http://localhost/feed', { headers: eventSource })
      const response = await hub.respond(request, 'feed', factory, { from: 'start' })
      expect(await response.text()).to.match(/data: event 1\n\nretry: \d+\n$/)
      expect(subscription.destroyed).to.equal(false)
      subscription.destroy()
    }))

  it('fails as the stream does, after its last event', () =>
    withHub(async (hub) => {
      await using upstream = await serve(resets('data: 1\n\n'))
      const options = { resume: 'before-first-event', from: 'start' } as const
      const subscription = hub.subscribe('feed', httpUpstream(upstream.url), options)
      const chunks: string[] = []
      let failure: unknown
      try {
        for await (const chunk of subscription) chunks.push(String(chunk))
      } catch (error) {
        failure = error
      }
      expect(chunks.join('')).to.include('data: 1\n\n')
      expect(failure).to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
    }))

  it('fails for a stream that does not exist, and when the hub is closed', async () => {
    const hub = createSseHub()
    await using upstream = await serve(ends())
    const [unknown] = await once(hub.subscribe('nothing').resume(), 'error')
    expect(unknown).to.include({ code: 'ERR_SSE_STREAM_UNKNOWN' })
    const open = hub.subscribe('feed', httpUpstream(upstream.url)).resume()
    const failure = once(open, 'error')
    await hub.start('feed', httpUpstream(upstream.url))
    await hub.close()
    expect((await failure)[0]).to.include({ code: 'ERR_SSE_HUB_CLOSED' })
    const [closed] = await once(hub.subscribe('feed', httpUpstream(upstream.url)).resume(), 'error')
    expect(closed).to.include({ code: 'ERR_SSE_HUB_CLOSED' })
  })

  it('fails before the limit of a hub that closes, at a moment of its own', async () => {
    const hub = createSseHub()
    await using upstream = await serve(stays(wire(1)))
    const subscription = hub.subscribe('feed', httpUpstream(upstream.url))
    await once(subscription, 'data')
    const failure = once(subscription, 'error')
    // The earliest moment: with a limit of an hour, the test would otherwise not end.
    const random = mock.method(Math, 'random', () => 0)
    try {
      await hub.close({ drain: 3_600_000 })
    } finally {
      random.mock.restore()
    }
    expect((await failure)[0]).to.include({ code: 'ERR_SSE_HUB_CLOSED' })
    await isLeft(upstream)
  })

  it('is aborted by its signal', () =>
    withHub(async (hub) => {
      await using upstream = await serve(stays(wire(1)))
      const abort = new AbortController()
      const options = { signal: abort.signal, linger: 0 }
      const subscription = hub.subscribe('feed', httpUpstream(upstream.url), options)
      await once(subscription, 'data')
      abort.abort()
      const [error] = await once(subscription, 'error')
      expect(error).to.include({ name: 'AbortError' })
      await isLeft(upstream)
    }))
})
