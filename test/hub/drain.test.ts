import { mock } from 'node:test'
import { expect } from 'chai'
import { createDrain, type Drain, memoryStore, type SharedStreamOptions } from '../../src/index.ts'
import { answerOf, ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, eventSource, type HubServer, idOf, serveHub } from '../support/hub.ts'
import { serve, stream } from '../support/server.ts'
import { holdTime } from '../support/time.ts'

describe('a drain of a shared stream', () => {
  it('tells the clients to come back where the stream can be resumed, and lets other streams run to their end', async () => {
    const ends: (() => void)[] = []
    await using upstream = await serve((_, response) => {
      stream(response, wire(1))
      ends.push(() => response.end(wire(2)))
    })
    const drain = createDrain()
    await using feed = await serveHub(upstream.url, { drain })
    await using session = await serveHub(upstream.url, { drain, resume: 'before-first-event' })
    using dismissed = ask(feed.url)
    await has(dismissed, 'event 1')
    using kept = ask(session.url)
    await has(kept, 'event 1')
    const drained = drain.start({ spread: 0 })
    expect(await dismissed.ended).to.equal('end')
    expect(dismissed.text).to.match(/\nretry: 1000\n$/)
    expect(drain).to.include({ dismissed: 1, size: 1 })
    ends[1]?.()
    expect(await kept.ended).to.equal('end')
    expect(dataIn(kept)).to.deep.equal(['event 1', 'event 2'])
    await drained
  })
  const session: SharedStreamOptions = {
    from: 'start',
    resume: 'before-first-event',
    errorEvent: () => ({ event: 'error', data: 'broken off' }),
  }

  for (const [how, letGo] of Object.entries({
    'its hub is closed': ({ hub }: HubServer) => hub.close({ drain: 60_000 }),
    'its server is drained': (_: HubServer, drain: Drain) => drain.start({ spread: 60_000 }),
  })) {
    it(`lets the clients of a stream go that another process runs, where ${how}: the stream goes on for them`, async () => {
      const hub = { store: memoryStore(), lease: 60_000, poll: 60_000 }
      const drain = createDrain()
      let end = () => {}
      await using upstream = await serve((_, response) => {
        stream(response, wire(1))
        end = () => response.end(wire(2))
      })
      await using owner = await serveHub(upstream.url, { ...session, hub })
      await using follower = await serveHub(upstream.url, { ...session, hub, drain })
      using first = ask(owner.url, eventSource)
      await has(first, 'event 1')
      using second = ask(follower.url, eventSource)
      await has(second, 'event 1')
      const random = mock.method(Math, 'random', () => 0)
      await letGo(follower, drain)
      random.mock.restore()
      expect(await second.ended).to.equal('end')
      expect(second.text).to.match(/\nretry: \d+\n$/)
      expect(dataIn(second)).to.deep.equal(['event 1'])
      expect(follower.summaries).to.have.length(1)
      expect(follower.summaries[0]).to.include({ outcome: 'drained', error: undefined })
      end()
      const back = await answerOf(owner.url, { ...eventSource, 'last-event-id': idOf(second, 'event 1') })
      expect(dataIn(back)).to.deep.equal(['event 2'])
      expect(await first.ended).to.equal('end')
      expect(upstream.requests).to.have.length(1)
    })
  }
  it("lets the clients of a hub that closes go at random times within the close's `drain`", async () => {
    await using upstream = await serve((_, response) => void stream(response, wire(1)))
    await using feed = await serveHub(upstream.url)
    using client = ask(feed.url, eventSource)
    await has(client, 'event 1')
    using time = holdTime()
    mock.method(Math, 'random', () => 0.5)
    const closed = feed.hub.close({ drain: 10_000 })
    await time.pass(4900)
    expect(feed.summaries).to.deep.equal([])
    await time.pass(100)
    await closed
    expect(await client.ended).to.equal('end')
    expect(feed.summaries[0]).to.include({ outcome: 'drained' })
  })
})
