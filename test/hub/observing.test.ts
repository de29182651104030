import { expect } from 'chai'
import {
  createSseHub,
  httpUpstream,
  type Logger,
  memoryStore,
  type SharedStreamOptions,
  type StreamStore,
} from '../../src/index.ts'
import { library, runModule } from '../support/child.ts'
import { answerOf, ask, get, has } from '../support/client.ts'
import { lastIs, wire } from '../support/events.ts'
import { dataIn, type HubServer, idOf, serveHub } from '../support/hub.ts'
import { type Observed, observeHubs } from '../support/hub-messages.ts'
import { answers, ends, flood, isLeft, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

/** An upstream that sends one event, with a number after the last event ID, and stays open. */
const counting = () =>
  serve((request, response) => {
    stream(response, wire(Number(request.headers['last-event-id'] ?? 0) + 1))
  })

/** A store in memory whose calls are rejected while `away.is` is true. */
function unreliable(away: { is: boolean }): StreamStore {
  const store = memoryStore()
  const call = async <T>(act: () => Promise<T>): Promise<T> => {
    if (away.is) throw new Error('the store is down')
    return act()
  }
  return {
    open: (...args) => call(() => store.open(...args)),
    append: (...args) => call(() => store.append(...args)),
    renew: (...args) => call(() => store.renew(...args)),
    read: (...args) => call(() => store.read(...args)),
    watch: (...args) => store.watch(...args),
  }
}

const figuresIn = (observed: Observed): object[] => Object(observed.of('hub-start')[0]).figures()
const released = (observed: Observed) => observed.of('hub-release').map(({ reason }) => reason)

describe('a message about a hub', () => {
  it('tells of the start, of each upstream that this process gets and gives up, and of the end', async () => {
    using observed = observeHubs()
    await using upstream = await counting()
    {
      await using feed = await serveHub(upstream.url, { name: 'prices', linger: 20 })
      expect(observed.seen).to.deep.equal([])
      let lastEventId = ''
      for (const n of [1, 2]) {
        using client = ask(feed.url, { 'last-event-id': lastEventId })
        await has(client, `event ${n}`)
        lastEventId = idOf(client, `event ${n}`)
        client.leave()
        await observed.has('hub-release', n)
      }
    }
    expect(observed.seen.map(({ kind }) => kind)).to.deep.equal([
      'hub-start',
      'hub-open',
      'hub-release',
      'hub-open',
      'hub-release',
      'hub-end',
    ])
    const [first, second] = observed.of('hub-open')
    const about = { hub: observed.seen[0]?.hub, stream: '/events', name: 'prices' }
    expect(about.hub).to.be.a('number')
    expect(first).to.include({ ...about, first: true, cursor: undefined })
    expect(second).to.include({ ...about, first: false, cursor: '1' })
    expect(second?.epoch).to.be.above(Number(first?.epoch))
    const [release] = observed.of('hub-release')
    expect(release).to.include({ ...about, epoch: first?.epoch, reason: 'linger', error: undefined })
    expect(observed.of('hub-end')).to.deep.equal([{ kind: 'hub-end', hub: about.hub }])
  })

  it('is not published for a hub that has served no stream', async () => {
    using observed = observeHubs()
    await createSseHub().close()
    expect(observed.seen).to.deep.equal([])
  })

  it('says why this process no longer has the upstream: end, failure, close', async () => {
    using observed = observeHubs()
    await using upstream = await serveInTurn(ends(wire(1, 'end')), answers(404), stays(wire(2)))
    await using feed = await serveHub(upstream.url, { isTerminal: lastIs('end') })
    await answerOf(`${feed.url}/1`)
    await observed.has('hub-release', 1)
    await answerOf(`${feed.url}/2`)
    await observed.has('hub-release', 2)
    using client = ask(`${feed.url}/3`)
    await has(client, 'event 2')
    await feed.hub.close()
    expect(released(observed)).to.deep.equal(['end', 'failure', 'closed'])
    expect(observed.of('hub-release')[1]).to.have.nested.property('error.statusCode', 404)
  })

  it('says that an upstream was given up because its stream was cancelled by another hub', async () => {
    using observed = observeHubs()
    await using upstream = await counting()
    const store = memoryStore()
    await using feed = await serveHub(upstream.url, { hub: { store }, name: 'answers' })
    const other = createSseHub({ store })
    using client = ask(feed.url)
    await has(client, 'event 1')
    expect(await other.cancel('/events', 'the user stopped it')).to.equal(true)
    await observed.has('hub-release')
    const [cancel] = observed.of('hub-cancel')
    // The other hub does not know the options of the stream.
    expect(cancel).to.include({ stream: '/events', name: undefined, reason: 'the user stopped it' })
    expect(cancel?.hub).not.to.equal(observed.of('hub-open')[0]?.hub)
    expect(released(observed)).to.deep.equal(['superseded'])
    expect(await other.cancel('/events')).to.equal(false)
    expect(observed.of('hub-cancel')).to.have.length(1)
    await other.close()
  })

  it('tells of a cancelled stream by its name where this process has the stream', async () => {
    using observed = observeHubs()
    await using upstream = await counting()
    await using feed = await serveHub(upstream.url, { name: 'answers' })
    using client = ask(feed.url)
    await has(client, 'event 1')
    await feed.hub.cancel('/events')
    expect(observed.of('hub-cancel')[0]).to.include({ stream: '/events', name: 'answers', reason: '' })
  })

  it('tells of a stream that failed because its owner has stopped and the upstream must not be asked again', async () => {
    using observed = observeHubs()
    await using upstream = await counting()
    const store = memoryStore()
    const opened = await store.open('/events', 'an owner that crashed', { lease: 1, keepFor: 60_000 })
    const epoch = opened.state === 'open' ? opened.epoch : 0
    const bytes = Buffer.from(`id: ${epoch}-1\ndata: a\n\n`)
    await store.append('/events', {
      kind: 'events',
      epoch,
      at: 1,
      first: 1,
      last: 1,
      bytes,
      cursor: undefined,
    })
    await using feed = await serveHub(upstream.url, {
      hub: { store, poll: 10 },
      resume: 'before-first-event',
      from: 'start',
    })
    expect(dataIn(await answerOf(feed.url))).to.deep.equal(['a'])
    expect(upstream.requests).to.deep.equal([])
    expect(released(observed)).to.deep.equal(['not-resumable'])
    expect(observed.of('hub-release')[0]).to.have.nested.property('error.code', 'ERR_SSE_NOT_RESUMABLE')
    expect(observed.of('hub-open')).to.deep.equal([])
  })

  it('tells of each client that misses events, and whether it was refused', async () => {
    using observed = observeHubs()
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      send = (text) => void response.write(text)
      stream(response, wire(1))
    })
    await using feed = await serveHub(upstream.url, { retention: { events: 1 }, name: 'prices' })
    using first = ask(feed.url)
    await has(first, 'event 1')
    for (const n of [2, 3]) {
      send(wire(n))
      await has(first, `event ${n}`)
    }
    const trimmed = idOf(first, 'event 1')
    using late = ask(feed.url, { 'last-event-id': trimmed })
    await has(late, 'event 3')
    const subscription = feed.hub.subscribe('/events', undefined, { lastEventId: 'x', onGap: 'refuse' })
    const error = await subscription.toArray().catch((error: unknown) => error)
    expect(error).to.include({ code: 'ERR_SSE_STREAM_GONE' })
    const about = { stream: '/events', name: 'prices' }
    expect(observed.of('hub-gap')).to.have.length(2)
    expect(observed.of('hub-gap')[0]).to.include({
      ...about,
      reason: 'trimmed',
      lastEventId: trimmed,
      refused: false,
    })
    expect(observed.of('hub-gap')[1]).to.include({
      ...about,
      reason: 'unknown-id',
      lastEventId: 'x',
      refused: true,
    })
  })

  it('tells of a client that was disconnected because it did not read, and counts it as catching up before', async () => {
    using observed = observeHubs()
    await using upstream = await serve((_, response) => flood(response))
    await using feed = await serveHub(upstream.url, { stallTimeout: 200, name: 'prices' })
    const client = await get(feed.url)
    client.reads(false)
    let catchingUp = 0
    await until(
      () => {
        catchingUp ||= Number(Object(figuresIn(observed)[0]).catchingUp)
        return observed.of('hub-slow').length === 1
      },
      () => 'the slow client is disconnected',
    )
    expect(catchingUp).to.equal(1)
    const [slow] = observed.of('hub-slow')
    expect(slow).to.include({ stream: '/events', name: 'prices', stallTimeout: 200 })
    expect(slow?.lastEventId).to.match(/^\d+-\d+/)
    client.leave()
  })

  it('tells once of the options of a later caller that are ignored', async () => {
    using observed = observeHubs()
    await using upstream = await counting()
    const hub = createSseHub()
    for (const options of [{}, { linger: 5, keepFor: 7 }, { linger: 6 }])
      await hub.start('a', httpUpstream(upstream.url), options)
    const about = { kind: 'hub-options', hub: observed.seen[0]?.hub, stream: 'a', name: undefined }
    expect(observed.of('hub-options')).to.deep.equal([{ ...about, options: ['linger', 'keepFor'] }])
    await hub.close()
  })

  it('tells once that the store is away, and once that the store is back', async () => {
    using observed = observeHubs()
    const away = { is: false }
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      send = (text) => void response.write(text)
      stream(response, wire(1))
    })
    await using feed = await serveHub(upstream.url, { hub: { store: unreliable(away), lease: 300 } })
    using client = ask(feed.url)
    await has(client, 'event 1')
    away.is = true
    send(wire(2))
    await observed.has('hub-store-away')
    expect(observed.of('hub-store-away')[0]).to.have.nested.property('error.message', 'the store is down')
    expect(observed.of('hub-store-away')[0]?.since).to.be.within(1_700_000_000_000, Date.now())
    away.is = false
    await has(client, 'event 2')
    expect(observed.of('hub-store-away')).to.have.length(1)
    expect(observed.of('hub-store-back')).to.have.length(1)
    expect(observed.of('hub-store-back')[0]?.duration).to.be.at.least(0)
  })

  it('tells of an upstream that was given up because the store was away for too long', async () => {
    using observed = observeHubs()
    const away = { is: false }
    await using upstream = await counting()
    await using feed = await serveHub(upstream.url, {
      hub: { store: unreliable(away), lease: 300, storeTimeout: 50 },
    })
    using client = ask(feed.url)
    await has(client, 'event 1')
    away.is = true
    await observed.has('hub-release')
    expect(released(observed)).to.deep.equal(['store'])
    expect(observed.of('hub-release')[0]).to.have.nested.property('error.code', 'ERR_SSE_STORE')
    expect(await client.ended).to.equal('broken')
    away.is = false
    await isLeft(upstream)
  })

  it('gives the figures of a hub: streams by role, and clients, for each name', async () => {
    using observed = observeHubs()
    await using upstream = await counting()
    const store = memoryStore()
    await using owner = await serveHub(upstream.url, { hub: { store }, name: 'prices' })
    using first = ask(owner.url)
    await has(first, 'event 1')
    await owner.hub.start('other', httpUpstream(upstream.url))
    await using follower = await serveHub(upstream.url, { hub: { store }, name: 'prices', from: 'start' })
    const clients = [ask(follower.url), ask(follower.url)]
    for (const client of clients) await has(client, 'event 1')
    const [ofOwner, ofFollower] = observed.of('hub-start').map((message) => Object(message).figures)
    const prices = { name: 'prices', catchingUp: 0 }
    expect(ofOwner()).to.deep.equal([
      { ...prices, streams: { owner: 1, follower: 0 }, clients: 1 },
      { name: undefined, streams: { owner: 1, follower: 0 }, clients: 0, catchingUp: 0 },
    ])
    expect(ofFollower()).to.deep.equal([{ ...prices, streams: { owner: 0, follower: 1 }, clients: 2 }])
    for (const client of clients) client.leave()
    await follower.hub.close()
    expect(ofFollower()).to.deep.equal([])
  })
})

describe('a logger or listener of hub messages that throws', () => {
  const throwing = (text: string): Logger => {
    const log = (_: object, message: string) => {
      if (message === text) throw new ReferenceError('a fault in the logger')
    }
    return { debug: log, info: log, warn: log, error: log }
  }

  /**
   * Uses a feed whose logger throws at one message. Expects that another stream of the hub goes on; an exception in a timer or an
   * event would end the test.
   */
  async function withFault(
    message: string,
    options: SharedStreamOptions,
    use: (feed: HubServer) => Promise<void>,
  ): Promise<void> {
    let send = (_: string) => {}
    await using quiet = await serve((_, response) => {
      send = (text) => void response.write(text)
      stream(response, wire(1))
    })
    await using upstream = await serve((_, response) => flood(response))
    await using feed = await serveHub(upstream.url, { ...options, logger: throwing(message) })
    const other = feed.hub.subscribe('other', httpUpstream(quiet.url), { from: 'start', objectMode: true })
    const data: unknown[] = []
    other.on('data', (event) => data.push(event.data))
    const received = (count: number) =>
      until(
        () => data.length === count,
        () => `${data.length} events`,
      )
    await received(1)
    await use(feed)
    send(wire(2))
    await received(2)
    other.destroy()
  }

  it('ends the clients of its own stream, and no other stream: an upstream is opened', () =>
    withFault('shared upstream opened', {}, async (feed) => {
      expect(await answerOf(feed.url)).to.include({ status: 500 })
      expect(String(feed.faults[0])).to.include('a fault in the logger')
    }))

  it('ends the clients of its own stream, and no other stream: a client misses events', () =>
    withFault('client misses events', { stallTimeout: 0 }, async (feed) => {
      const reader = await get(feed.url)
      reader.reads(false)
      expect((await answerOf(feed.url, { 'last-event-id': 'unknown' })).over).to.equal('broken')
      await until(
        () => feed.faults.length === 2,
        () => `${feed.faults.length} faults`,
      )
      reader.leave()
    }))

  it('ends neither another stream nor the process in a timer: a slow client is disconnected', () =>
    withFault('slow client disconnected', { stallTimeout: 50 }, async (feed) => {
      const client = await get(feed.url)
      client.reads(false)
      await until(
        () => feed.summaries.length === 1,
        () => 'the slow client is disconnected',
      )
      expect(feed.summaries[0]).to.include({ outcome: 'slow' })
      client.leave()
    }))

  it('ends the process only as any listener of a diagnostics channel does: events are delivered all the same', async () => {
    await using upstream = await serve(stays(wire(1), wire(2, 'end')))
    const script = `
      import { subscribe } from 'node:diagnostics_channel'
      import { createSseHub, httpUpstream } from '${library}'
      const faults = []
      process.on('uncaughtException', ({ message }) => faults.push(message))
      for (const kind of ['start', 'open', 'release', 'end'])
        subscribe('resilient-sse:hub-' + kind, () => { throw new Error(kind) })
      const hub = createSseHub()
      const options = { objectMode: true, from: 'start', isTerminal: ({ data }) => data === 'end' }
      const events = await hub.subscribe('a', httpUpstream(process.argv[1]), options).toArray()
      await hub.close()
      setImmediate(() => console.log(events.map(({ data }) => data).join(), faults.join()))
    `
    const { out, code } = await runModule(script, [upstream.url])
    expect(out.trim()).to.equal('event 1,end start,open,release,end')
    expect(code).to.equal(0)
  })
})
