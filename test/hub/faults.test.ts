import { expect } from 'chai'
import { answerOf, ask, get, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { countingUpstream, numbered, postUpstream } from '../support/feed.ts'
import { dataIn, eventSource, idOf, serveHub } from '../support/hub.ts'
import { ends, isLeft, serve, stays } from '../support/server.ts'
import { type Fault, faultyStore, firstCalls } from '../support/store.ts'
import { until } from '../support/until.ts'

const program = { accept: 'application/json' }
const calls = ['open', 'append', 'renew', 'read'] as const
const faults: readonly Fault[] = ['rejects', 'hangs', 'late', 'loses the answer', 'twice']
const verb: Readonly<Record<Fault, string>> = {
  rejects: 'rejects',
  hangs: 'gives no answer',
  late: 'answers late',
  'loses the answer': 'is carried out and rejects',
  twice: 'is carried out twice',
}

describe('a store that is not reliable', () => {
  it('delays no client by the lease of an open that is carried out after its caller has given up', async () => {
    const store = faultyStore()
    store.fault = (call) => (call === 'read' ? undefined : 'hangs')
    await using upstream = await serve(stays(wire(1)))
    // Longer than the test: all clients would wait until a lease of a caller that has given up runs out.
    const hub = { store, lease: 600_000, poll: 600_000, storeTimeout: 100 }
    await using feed = await serveHub(upstream.url, { hub, from: 'start' })
    expect(await answerOf(feed.url, program)).to.include({ status: 503 })
    await until(
      () => store.calls.at(-1) === 'renew',
      () => `the lease is given up after ${store.calls}`,
    )
    store.fault = () => undefined
    store.wake()
    using client = ask(feed.url)
    await has(client, 'event 1')
    expect(upstream.requests).to.have.length(1)
  })

  for (const call of calls) {
    for (const fault of faults) {
      it(`delays the events, and each arrives once and in order, when ${call} ${verb[fault]}`, async () => {
        const store = faultyStore()
        await using upstream = await countingUpstream()
        await using feed = await serveHub(upstream.url, {
          hub: { store, lease: 300, storeTimeout: 1200, poll: 20 },
          from: 'start',
        })
        store.fault = firstCalls(call, 2, fault)
        const clients = [ask(feed.url), ask(feed.url, eventSource), ask(feed.url, program)]
        for (let n = 1; n <= 5; n++) await upstream.send()
        for (const client of clients) await has(client, 'event 5\n')
        await until(
          () => store.calls.filter((each) => each === call).length >= (call === 'renew' ? 3 : 1),
          () => `calls of ${call}`,
        )
        store.wake()
        for (let n = 6; n <= 10; n++) await upstream.send()
        for (const client of clients) {
          await has(client, 'event 10\n')
          expect(dataIn(client)).to.deep.equal(numbered(1, 10))
          client.leave()
        }
        expect(upstream.requests).to.have.length(1)
      })
    }
  }

  it('is called again until it answers, while clients get heartbeats and then everything', async () => {
    const store = faultyStore()
    await using upstream = await countingUpstream()
    await using feed = await serveHub(upstream.url, { hub: { store, poll: 20 }, heartbeat: 10 })
    using client = await get(feed.url)
    await upstream.send()
    await has(client, 'event 1\n')
    store.fault = () => 'rejects'
    for (let n = 0; n < 5; n++) await upstream.send()
    const { length } = client.text
    await until(
      () => client.text.length > length + 5,
      () => 'heartbeats',
    )
    expect(client.text.slice(length)).to.match(/^(:\n)+$/)
    store.fault = () => undefined
    await has(client, 'event 6\n')
    expect(dataIn(client)).to.deep.equal(numbered(1, 6))
  })

  for (const fault of ['rejects', 'hangs'] as const) {
    it(`breaks the connections when it ${verb[fault]} for longer than storeTimeout, and tells new clients to come back`, async () => {
      const store = faultyStore()
      await using upstream = await countingUpstream()
      await using feed = await serveHub(upstream.url, {
        hub: { store, storeTimeout: 150, lease: 200, poll: 20 },
      })
      using first = await get(feed.url, eventSource)
      using second = await get(feed.url, { accept: '*/*' })
      await upstream.send()
      await has(first, 'event 1\n')
      await has(second, 'event 1\n')
      store.fault = () => fault
      await upstream.send()
      expect(await first.ended).to.equal('broken')
      expect(await second.ended).to.equal('broken')
      expect(dataIn(first)).to.deep.equal(['event 1'])
      // The upstream is closed when its next event cannot be stored, a moment before or after that.
      await isLeft(upstream)
      for (const headers of [program, { accept: '*/*' }]) {
        const refused = await answerOf(feed.url, headers)
        expect(refused.status).to.equal(503)
        expect(Number(refused.headers['retry-after'])).to.be.above(0)
      }
      const browser = await answerOf(feed.url, { ...eventSource, 'last-event-id': idOf(first, 'event 1') })
      expect(browser).to.include({ status: 200, over: 'end' })
      expect(browser.text).to.match(/^retry: \d+\n\n?$/)
      store.fault = () => undefined
      store.wake()
      using back = ask(feed.url, { ...eventSource, 'last-event-id': idOf(first, 'event 1') })
      await until(
        () => upstream.requests.length > 1,
        () => 'the upstream is opened again',
      )
      await upstream.send()
      await has(back, 'event 3\n')
      expect(dataIn(back).at(-1)).to.equal('event 3')
      expect(new Set(dataIn(back)).size).to.equal(dataIn(back).length)
    })
  }

  it('gets a request that is sent once only once when the answers of open are lost', async () => {
    const store = faultyStore()
    store.fault = firstCalls('open', 2, 'loses the answer')
    await using upstream = await serve(ends('data: a\n\n', 'data: b\n\n'))
    await using feed = await serveHub(postUpstream(upstream.url), {
      hub: { store },
      from: 'start',
      linger: Number.POSITIVE_INFINITY,
    })
    const client = await answerOf(feed.url)
    expect(dataIn(client)).to.deep.equal(['a', 'b'])
    expect(client.over).to.equal('end')
    expect(upstream.requests).to.have.length(1)
  })

  it('leaves a run alone when the call that opened it is carried out again', async () => {
    const store = faultyStore()
    await using upstream = await countingUpstream()
    await using feed = await serveHub(postUpstream(upstream.url), {
      hub: { store, poll: 20, lease: 300 },
      from: 'start',
    })
    store.fault = (call) => (call === 'open' ? 'twice' : undefined)
    using client = await get(feed.url)
    for (let n = 1; n <= 20; n++) {
      await upstream.send()
      await has(client, `event ${n}\n`)
    }
    await until(
      () => store.calls.filter((call) => call === 'renew').length > 3,
      () => 'renewals',
    )
    await upstream.send()
    await has(client, 'event 21\n')
    expect(client.over).to.equal(undefined)
    expect(dataIn(client)).to.deep.equal(numbered(1, 21))
  })

  it('ends a stream by a cancel whose answer is lost', async () => {
    const store = faultyStore()
    await using upstream = await serve(stays(wire(1)))
    await using feed = await serveHub(upstream.url, { hub: { store } })
    using client = await get(feed.url)
    store.fault = firstCalls('open', 1, 'loses the answer')
    expect(await feed.hub.cancel('/events', 'enough')).to.equal(true)
    expect(await client.ended).to.equal('end')
    expect(await feed.hub.cancel('/events', 'enough')).to.equal(false)
  })

  it('fails the clients of one stream alone whose calls always fail', async () => {
    const store = faultyStore()
    await using upstream = await countingUpstream()
    await using feed = await serveHub(upstream.url, { hub: { store, storeTimeout: 1500, poll: 10 } })
    store.fault = (_, name) => (name === '/bad' ? 'rejects' : undefined)
    using good = await get(feed.url)
    using bad = ask(new URL('/bad', feed.url).href)
    let sent = 0
    // The store answers all the time.
    while (bad.over === undefined && sent < 20_000) {
      await upstream.send()
      await has(good, `event ${++sent}\n`)
    }
    expect(bad.status).to.equal(503)
    expect(dataIn(good)).to.deep.equal(numbered(1, sent))
    expect(good.over).to.equal(undefined)
  })

  for (const fault of ['rejects', 'hangs'] as const) {
    it(`does not keep a hub from closing when it ${verb[fault]}`, async () => {
      const store = faultyStore()
      await using upstream = await countingUpstream()
      await using feed = await serveHub(upstream.url, { hub: { store, storeTimeout: 60_000 } })
      using client = await get(feed.url)
      await upstream.send()
      await has(client, 'event 1\n')
      store.fault = () => fault
      await upstream.send()
      await feed.hub.close()
      await isLeft(upstream)
      await client.ended
      expect(dataIn(client)).to.deep.equal(['event 1'])
    })
  }

  it('sends no request again that is sent once when the log is lost', async () => {
    let inner = faultyStore()
    const store = faultyStore({
      open: (...args) => inner.open(...args),
      append: (...args) => inner.append(...args),
      renew: (...args) => inner.renew(...args),
      read: (...args) => inner.read(...args),
      watch: () => () => {},
    })
    await using upstream = await countingUpstream()
    await using feed = await serveHub(postUpstream(upstream.url), {
      hub: { store, poll: 20, lease: 300 },
      from: 'start',
      onGap: 'continue',
    })
    using client = await get(feed.url)
    await upstream.send()
    await has(client, 'event 1\n')
    inner = faultyStore()
    await upstream.send()
    expect(await client.ended).to.equal('broken')
    expect(dataIn(client)).to.deep.equal(['event 1'])
    expect(upstream.requests).to.have.length(1)
  })

  it('resumes the upstream behind the latest known event when the log is lost', async () => {
    let inner = faultyStore()
    const store = faultyStore({
      open: (...args) => inner.open(...args),
      append: (...args) => inner.append(...args),
      renew: (...args) => inner.renew(...args),
      read: (...args) => inner.read(...args),
      watch: () => () => {},
    })
    await using upstream = await countingUpstream()
    await using feed = await serveHub(upstream.url, { hub: { store, poll: 20, lease: 300 } })
    using client = await get(feed.url)
    for (let n = 1; n <= 3; n++) await upstream.send()
    await has(client, 'event 3\n')
    inner = faultyStore()
    await upstream.send()
    await has(client, 'event 4\n')
    await upstream.send()
    await has(client, 'event 5\n')
    expect(dataIn(client)).to.deep.equal(numbered(1, 5))
    expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([undefined, '3'])
  })
})
