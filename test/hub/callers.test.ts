import { expect } from 'chai'
import {
  createSseHub,
  httpUpstream,
  type SharedStreamOptions,
  type SseEvent,
  type UpstreamFactory,
} from '../../src/index.ts'
import { answerOf, ask, get } from '../support/client.ts'
import { fast, wire } from '../support/events.ts'
import { numbered } from '../support/feed.ts'
import { dataIn, eventSource, serveHub } from '../support/hub.ts'
import { answers, ends, isLeft, resets, serve, serveInTurn, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

const mine = new Error('a mistake of the caller')

function fails(): never {
  throw mine
}

describe('a shared stream whose caller makes a mistake', () => {
  for (const [what, factory] of [
    ['throws', () => fails()],
    ['rejects', () => Promise.reject(mine)],
  ] as const) {
    it(`fails when its factory always ${what}, and opens for a later client`, async () => {
      await using upstream = await serve(stays(wire(1)))
      let isMistaken = true
      const maybe: UpstreamFactory = (context) =>
        isMistaken ? factory() : fetch(upstream.url, { headers: context.headers, signal: context.signal })
      await using feed = await serveHub(maybe, {
        hub: { poll: 20 },
        reconnect: { ...fast, maxRetries: 2 },
      })
      const refused = await answerOf(feed.url)
      expect(refused.status).to.equal(502)
      const browser = await answerOf(feed.url, eventSource)
      expect(browser).to.include({ status: 200, over: 'end' })
      expect(browser.text).to.match(/^retry: \d+/)
      isMistaken = false
      // The failure is kept for a moment, and is the answer until then.
      let later = ask(feed.url)
      await until(
        () => {
          if (later.over !== undefined) later = ask(feed.url)
          return later.text.includes('event 1')
        },
        () => 'a later client gets the stream',
      )
      later.leave()
    })
  }

  const throwing: Readonly<Record<string, SharedStreamOptions>> = {
    'a transform': { transform: (event: SseEvent) => (event.data === 'event 3' ? fails() : event) },
    'a transform that is a generator': {
      async *transform(events: AsyncIterable<SseEvent>) {
        for await (const event of events) {
          if (event.data === 'event 3') fails()
          yield event
        }
      },
    },
    isTerminal: { isTerminal: ({ data }) => (data === 'event 3' ? fails() : false) },
    cursor: { cursor: ({ data }) => (data === 'event 3' ? fails() : data) },
  }
  for (const [name, options] of Object.entries(throwing)) {
    it(`passes on the events before the one at which ${name} throws, and breaks the connections`, async () => {
      await using upstream = await serve(stays(wire(1), wire(2), wire(3), wire(4)))
      await using feed = await serveHub(upstream.url, { from: 'start', ...options })
      const clients = [await get(feed.url), await get(feed.url, eventSource)]
      for (const client of clients) expect(await client.ended).to.equal('broken')
      for (const client of clients) expect(['event 1', 'event 2']).to.include.members(dataIn(client))
      for (const client of clients) expect(dataIn(client)).to.not.include('event 3')
      await isLeft(upstream)
      await until(
        () => feed.faults.length + feed.summaries.length === 2,
        () => 'both relays end',
      )
      const errors = [...feed.faults, ...feed.summaries.map(({ error }) => error)]
      expect(errors.map((error) => error instanceof Error && error.message)).to.deep.equal([
        mine.message,
        mine.message,
      ])
    })
  }

  it('breaks the connections when identity throws, which is asked once the upstream was lost', async () => {
    await using upstream = await serveInTurn(resets(wire(1), wire(2), wire(3)), stays(wire(3), wire(4)))
    const identity = ({ data }: SseEvent) => (data === 'event 3' ? fails() : data)
    await using feed = await serveHub(upstream.url, { from: 'start', identity })
    const client = await get(feed.url)
    expect(await client.ended).to.equal('broken')
    expect(dataIn(client)).to.deep.equal(['event 1', 'event 2', 'event 3'])
    await until(
      () => feed.faults.length === 1,
      () => 'the relay rejects',
    )
    expect(feed.faults).to.deep.equal([mine])
  })

  it('rejects for the client alone whose refusal throws', async () => {
    await using upstream = await serve(answers(404))
    await using feed = await serveHub(upstream.url, { refusal: fails })
    expect((await answerOf(feed.url)).status).to.equal(500)
    expect(feed.faults).to.deep.equal([mine])
  })

  it('rejects for the client alone whose errorEvent throws, and breaks its connection', async () => {
    await using upstream = await serve(ends('data: a\n\n'))
    await using feed = await serveHub(upstream.url, {
      resume: 'before-first-event',
      isTerminal: () => false,
      errorEvent: fails,
    })
    const client = await answerOf(feed.url)
    expect(client.over).to.equal('broken')
    expect(dataIn(client)).to.deep.equal(['a'])
    await until(
      () => feed.faults.length === 1,
      () => 'the relay rejects',
    )
    expect(feed.faults).to.deep.equal([mine])
  })

  it('ends a subscription whose listener destroys it, and passes nothing on after that', async () => {
    await using upstream = await serve(stays(wire(1) + wire(2) + wire(3)))
    await using feed = await serveHub(upstream.url)
    const seen: (string | undefined)[] = []
    const subscription = feed.hub.subscribe('s', httpUpstream(upstream.url), { objectMode: true, linger: 0 })
    subscription.on('data', ({ data }) => {
      seen.push(data)
      if (data === 'event 2') subscription.destroy()
    })
    await until(
      () => subscription.closed,
      () => 'the subscription closes',
    )
    await isLeft(upstream)
    expect(seen).to.deep.equal(['event 1', 'event 2'])
  })

  it('gives each event once to a subscription that is read by the listener of another one', async () => {
    const hub = createSseHub()
    const factory: UpstreamFactory = async function* () {
      for (let n = 1; n <= 30; n++) {
        yield wire(n)
        await new Promise((resolve) => setImmediate(resolve))
      }
      await new Promise(() => {})
    }
    const first = hub.subscribe('s', factory, { objectMode: true, from: 'start' })
    const second = hub.subscribe('s', factory, { objectMode: true, from: 'start', highWaterMark: 1 })
    const seen: (string | undefined)[] = []
    const takeAll = () => {
      for (let event = second.read(); event !== null; event = second.read()) seen.push(event.data)
    }
    first.on('data', takeAll)
    second.on('readable', () => {})
    await until(
      () => {
        takeAll()
        return seen.length >= 30
      },
      () => `all events, not ${seen.length}`,
    )
    first.destroy()
    second.destroy()
    await hub.close()
    expect(seen).to.deep.equal(numbered(1, 30))
  })
})
