import { expect } from 'chai'
import { createSseHub, memoryStore, type SharedStreamOptions } from '../../src/index.ts'
import { answerOf, ask, get, has } from '../support/client.ts'
import { countingUpstream, numbered, postUpstream } from '../support/feed.ts'
import { dataIn, serveHub } from '../support/hub.ts'
import { faultyStore, wrapStore } from '../support/store.ts'
import { holdTime } from '../support/time.ts'
import { until } from '../support/until.ts'

const session: SharedStreamOptions = {
  linger: Number.POSITIVE_INFINITY,
  from: 'start',
  resume: 'before-first-event',
}
const short = { lease: 300, poll: 20 }

/** Two hubs with one log. The calls of the owner hang once it has stopped, as those of a process that was killed. */
async function twoHubs(options: SharedStreamOptions) {
  const inner = memoryStore()
  const store = faultyStore(inner)
  const upstream = await countingUpstream()
  const owner = await serveHub(upstream.url, { hub: { store, ...short }, ...options })
  const joining = { hub: { store: inner, ...short }, ...options, opens: false }
  const follower = await serveHub(upstream.url, joining)
  return {
    upstream,
    owner,
    follower,
    inner,
    stop: () => {
      store.fault = () => 'hangs'
    },
    async [Symbol.asyncDispose]() {
      store.fault = () => undefined
      store.wake()
      for (const part of [follower, owner, upstream]) await part[Symbol.asyncDispose]()
    },
  }
}

describe('a shared stream without an owner', () => {
  it('fails for clients that have joined it without an upstream, when it cannot be resumed', async () => {
    await using hubs = await twoHubs(session)
    const { upstream, owner, follower, inner } = hubs
    await owner.hub.start('/events', postUpstream(upstream.url), session)
    await upstream.send()
    using waiting = await get(follower.url)
    await has(waiting, 'event 1\n')
    const subscriber = createSseHub({ store: inner, ...short })
    const subscription = subscriber.subscribe('/events', undefined, session)
    const failure = subscription.toArray().catch((error: unknown) => error)
    hubs.stop()
    expect(await waiting.ended).to.equal('broken')
    expect(await failure).to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
    expect(await follower.hub.status('/events')).to.include({ state: 'failed', isOwner: false })
    // What is stored can still be read, and is followed by the failure.
    const later = await answerOf(follower.url)
    expect(later.over).to.equal('broken')
    expect(dataIn(later)).to.deep.equal(numbered(1, 1))
    expect(upstream.requests).to.have.length(1)
    await subscriber.close()
  })

  it('fails for a client that joins it after the owner has stopped, before its first event', async () => {
    await using hubs = await twoHubs(session)
    const { upstream, owner, follower } = hubs
    await owner.hub.start('/events', postUpstream(upstream.url), session)
    hubs.stop()
    const answer = await answerOf(follower.url)
    expect(answer).to.include({ status: 502 })
    expect(follower.summaries[0]).to.have.nested.property('error.code', 'ERR_SSE_NOT_RESUMABLE')
  })

  for (const [kind, options, opensFrom] of [
    ['a completion, which is never asked for', session, undefined],
    ['a feed, which is opened where the id says', { from: 'start' }, '2'],
  ] as const) {
    it(`is not opened before the store has said whether it has a log for the id of the client: ${kind}`, async () => {
      let answer = () => {}
      const answered = new Promise<void>((resolve) => {
        answer = resolve
      })
      let reads = 0
      const store = wrapStore((inner) => ({
        async read(...args) {
          reads++
          await answered
          return inner.read(...args)
        },
      }))
      await using upstream = await countingUpstream()
      using time = holdTime()
      await using server = await serveHub(upstream.url, { hub: { store, ...short }, ...options })
      const client = ask(server.url, { 'last-event-id': '1795710055795-9/2' })
      await until(
        () => reads > 0,
        () => 'the store is asked',
      )
      for (let n = 0; n < 20; n++) await time.pass(short.poll)
      const early = upstream.requests.length
      answer()
      expect(early).to.equal(0)
      if (opensFrom === undefined) {
        await client.ended
        expect(client.status).to.equal(410)
        expect(upstream.requests).to.have.length(0)
      } else {
        await until(
          () => upstream.requests.length === 1,
          () => 'the upstream is opened',
        )
        expect(upstream.requests[0]?.headers['last-event-id']).to.equal(opensFrom)
        client.leave()
      }
    })
  }

  it('waits for a client with an upstream, when it can be resumed', async () => {
    await using hubs = await twoHubs({ from: 'start', linger: Number.POSITIVE_INFINITY })
    const { upstream, owner, follower, inner } = hubs
    using first = await get(owner.url)
    await upstream.send()
    await has(first, 'event 1\n')
    using waiting = await get(follower.url)
    await has(waiting, 'event 1\n')
    hubs.stop()
    await using other = await serveHub(upstream.url, { hub: { store: inner, ...short } })
    using opening = await get(other.url)
    await until(
      () => upstream.requests.length === 2,
      () => 'the hub with an upstream takes over',
    )
    await upstream.send()
    for (const client of [waiting, opening]) await has(client, 'event 2\n')
    expect(dataIn(waiting)).to.deep.equal(numbered(1, 2))
    expect(waiting.text).not.to.include('relay-status')
  })
})
