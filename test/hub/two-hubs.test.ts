import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { positionOf } from '../../src/hub/store.ts'
import { httpUpstream, memoryStore, type Position, type StreamStore } from '../../src/index.ts'
import { ask, type Client, get, has } from '../support/client.ts'
import { countingUpstream, numbered, postUpstream } from '../support/feed.ts'
import { dataIn, eventSource, type HubServer, idOf, serveHub } from '../support/hub.ts'
import { isLeft, serve, stream } from '../support/server.ts'
import { type Fault, type FaultyStore, faultyStore, wrapStore } from '../support/store.ts'
import { holdTime } from '../support/time.ts'
import { until } from '../support/until.ts'

const program = { accept: 'application/json' }

/** Longer than a test: an owner that another one follows must have given its lease up. */
const longLease = { lease: 60_000, poll: 60_000 }

describe('two hubs with one store', () => {
  it('have one upstream, and each of their clients gets every event once', async () => {
    const store = memoryStore()
    await using upstream = await countingUpstream()
    await using a = await serveHub(upstream.url, { hub: { store, ...longLease } })
    await using b = await serveHub(upstream.url, { hub: { store, ...longLease }, head: 'eager' })
    using first = await get(a.url)
    using second = await get(b.url)
    await isJoined(b)
    for (let n = 1; n <= 20; n++) await upstream.send()
    await has(first, 'event 20\n')
    await has(second, 'event 20\n')
    expect(dataIn(first)).to.deep.equal(numbered(1, 20))
    expect(dataIn(second)).to.deep.equal(numbered(1, 20))
    expect(upstream.requests).to.have.length(1)
  })

  it('take over from each other when one closes, while events arrive', async () => {
    const store = memoryStore()
    await using upstream = await countingUpstream()
    await using a = await serveHub(upstream.url, { hub: { store, ...longLease } })
    await using b = await serveHub(upstream.url, { hub: { store, ...longLease }, head: 'eager' })
    using first = await get(a.url, eventSource)
    using second = await get(b.url)
    await isJoined(b)
    for (let n = 1; n <= 5; n++) await upstream.send()
    const closed = a.hub.close()
    for (let n = 6; n <= 10; n++) await upstream.send()
    await closed
    for (let n = 11; n <= 15; n++) await upstream.send()
    await has(second, 'event 15\n')
    expect(dataIn(second)).to.deep.equal(numbered(1, 15))
    expect(await first.ended).to.equal('end')
    expect(first.text).to.match(/^retry: \d+$/m)
    const seen = dataIn(first)
    expect(seen).to.deep.equal(numbered(1, seen.length))
    using back = await get(b.url, { ...eventSource, 'last-event-id': idOf(first, seen.at(-1) ?? '') })
    await has(back, 'event 15\n')
    expect(dataIn(back)).to.deep.equal(numbered(seen.length + 1, 15))
    expect(upstream.requests).to.have.length(2)
  })

  for (const [kind, open] of Object.entries({
    'names no entry': memoryStore,
    'names entries': namingStore,
  })) {
    it(`take over at once when the wakes for the last event and for the end of the lease come while the store is read, which ${kind}`, async () => {
      const inner = open()
      const slow = faultyStore(inner)
      await using upstream = await countingUpstream()
      await using a = await serveHub(upstream.url, { hub: { store: inner, ...longLease } })
      await using b = await serveHub(upstream.url, { hub: { store: slow, ...longLease }, head: 'eager' })
      using first = await get(a.url)
      using second = await get(b.url)
      await isJoined(b)
      await upstream.send()
      await has(second, 'event 1\n')
      slow.fault = (call) => (call === 'read' ? 'late' : undefined)
      await upstream.send()
      await has(first, 'event 2\n')
      await a.hub.close()
      await until(
        () => upstream.requests.length === 2,
        () => 'the other hub takes over',
      )
      await upstream.send()
      await has(second, 'event 3\n')
      expect(dataIn(second)).to.deep.equal(numbered(1, 3))
    })
  }

  it('take over at a lease that runs out because renewals give no answer, and the owner follows', async () => {
    const inner = memoryStore()
    const store = faultyStore(inner)
    await using upstream = await countingUpstream()
    await using a = await serveHub(upstream.url, { hub: { store, lease: 300, poll: 20 } })
    await using b = await serveHub(upstream.url, {
      hub: { store: inner, lease: 300, poll: 20 },
      head: 'eager',
    })
    using first = await get(a.url)
    using second = await get(b.url)
    await isJoined(b)
    await upstream.send()
    await has(second, 'event 1\n')
    store.fault = (call) => (call === 'renew' ? 'hangs' : undefined)
    await until(
      () => upstream.requests.length >= 2,
      () => 'the other hub takes over',
    )
    for (let n = 2; n <= 10; n++) await upstream.send()
    for (const client of [first, second]) {
      await has(client, 'event 10\n')
      expect(dataIn(client)).to.deep.equal(numbered(1, 10))
    }
    await isOwner(b, a)
    store.fault = () => undefined
    store.wake()
    await upstream.send()
    await has(first, 'event 11\n')
    await has(second, 'event 11\n')
  })

  for (const isFence of [true, false]) {
    it(`lose no event when an owner's appends hang until ${isFence ? 'it is fenced' : 'the store wakes'}`, async () => {
      const inner = memoryStore()
      const store = faultyStore(inner)
      await using upstream = await countingUpstream()
      await using a = await serveHub(upstream.url, {
        hub: { store, lease: isFence ? 300 : 60_000, poll: 20 },
      })
      await using b = await serveHub(upstream.url, {
        hub: { store: inner, lease: 300, poll: 20 },
        head: 'eager',
      })
      using first = await get(a.url)
      using second = await get(b.url)
      await isJoined(b)
      await upstream.send()
      await has(first, 'event 1\n')
      store.fault = () => 'hangs'
      for (let n = 2; n <= 5; n++) await upstream.send()
      if (isFence) {
        await until(
          () => upstream.requests.length === 2,
          () => 'the other hub takes over',
        )
        await has(second, 'event 5\n')
      }
      store.fault = () => undefined
      store.wake()
      for (let n = 6; n <= 10; n++) await upstream.send()
      for (const client of [first, second]) {
        await has(client, 'event 10\n')
        expect(dataIn(client)).to.deep.equal(numbered(1, 10))
      }
      expect(upstream.requests).to.have.length(isFence ? 2 : 1)
    })
  }

  for (const [how, options] of [
    ['passed on unread', {}],
    ['read', { isTerminal: () => false }],
  ] as const) {
    it(`tell each client once, and at its place, that the upstream could not be resumed, where events are ${how}`, async () => {
      const hub = { store: memoryStore(), ...longLease }
      const responses: ServerResponse[] = []
      await using upstream = await serve((_, response) => void responses.push(stream(response)))
      const asking = { from: 'start', statusEvents: true, ...options } as const
      await using a = await serveHub(upstream.url, { hub, ...asking })
      // This one reads every page from the store.
      await using b = await serveHub(upstream.url, {
        hub: { ...hub, windowBytes: 0 },
        ...asking,
        head: 'eager',
      })
      await using quiet = await serveHub(upstream.url, { hub, ...asking, statusEvents: false })
      using first = await get(a.url)
      responses[0]?.write('data: 1\n\n')
      await has(first, 'data: 1\n')
      const clients = [first, await get(b.url), await get(a.url)]
      const subscriptions = [a, b].map((each) => {
        const subscription = each.hub.subscribe('/events', undefined, {
          ...options,
          from: 'start',
          objectMode: true,
        })
        const seen: string[] = []
        subscription
          .on('gap', (reason: string) => seen.push(reason))
          .on('data', ({ data }) => seen.push(data))
        return { subscription, seen }
      })
      using silent = await get(quiet.url)
      for (const client of clients) await has(client, 'data: 1\n')
      responses[0]?.write('data: 2\n\n')
      await has(first, 'data: 2\n')
      responses[0]?.destroy()
      await until(
        () => responses.length === 2,
        () => 'the upstream is opened again',
      )
      responses[1]?.write('data: 3\n\ndata: 4\n\n')
      for (const client of [...clients, silent]) await has(client, 'data: 4\n')
      clients.push(await get(a.url), await get(b.url))
      for (const client of clients) {
        await has(client, 'data: 4\n')
        const seen = dataIn(client).filter((data) => !/reconnecting|live/.test(data))
        expect(seen).to.deep.equal(['1', '2', '{"status":"gap"}', '3', '4'])
      }
      expect(dataIn(silent)).to.deep.equal(['1', '2', '3', '4'])
      // A client gets the status `gap` when it returns with the id of the event before the gap, and gets none with the id of the event
      // after the gap.
      for (const [last, rest] of [
        ['2', ['{"status":"gap"}', '3', '4']],
        ['3', ['4']],
      ] as const) {
        using back = await get(b.url, { 'last-event-id': idOf(first, last) })
        await has(back, 'data: 4\n')
        expect(dataIn(back)).to.deep.equal(rest)
      }
      for (const { subscription, seen } of subscriptions) {
        await until(
          () => seen.length === 5,
          () => `all events in ${seen}`,
        )
        expect(seen).to.deep.equal(['1', '2', 'upstream', '3', '4'])
        subscription.destroy()
      }
      for (const client of clients) client.leave()
    })
  }

  it('tell clients of a new run that events of an upstream without ids may be missing before it, and no client that had none', async () => {
    const store = memoryStore()
    const responses: ServerResponse[] = []
    await using upstream = await serve((_, response) => void responses.push(stream(response)))
    const asking = { statusEvents: true, linger: 0 }
    await using a = await serveHub(upstream.url, { hub: { store, ...longLease }, ...asking })
    await using b = await serveHub(upstream.url, {
      hub: { store, ...longLease },
      ...asking,
      head: 'eager',
    })
    const opened = (runs: number) =>
      until(
        () => responses.length === runs,
        () => `runs: ${responses.length}`,
      )
    const eventsIn = (client: Client) => dataIn(client).filter((data) => !/reconnecting|live/.test(data))
    using first = await get(a.url)
    using second = await get(b.url)
    await isJoined(b)
    responses[0]?.write('data: 1\n\n')
    for (const client of [first, second]) await has(client, 'data: 1\n')
    // Another process takes over.
    await a.hub.close()
    await opened(2)
    using fresh = await get(b.url)
    await isJoined(b, 2)
    responses[1]?.write('data: 2\n\n')
    for (const client of [second, fresh]) await has(client, 'data: 2\n')
    expect(eventsIn(second)).to.deep.equal(['1', '{"status":"gap"}', '2'])
    expect(eventsIn(fresh)).to.deep.equal(['2'])
    // The run is over by `linger`, and the feed is opened again.
    second.leave()
    fresh.leave()
    await until(
      () => responses[1]?.destroyed === true,
      () => 'the upstream is closed',
    )
    using back = await get(b.url, { 'last-event-id': idOf(second, '2') })
    await opened(3)
    responses[2]?.write('data: 3\n\n')
    await has(back, 'data: 3\n')
    expect(eventsIn(back)).to.deep.equal(['{"status":"gap"}', '3'])
  })

  it('keep the upstream open for the clients of the other one when the last client of the owner has left for longer than linger', async () => {
    using time = holdTime()
    const passLeases = async () => {
      for (let passed = 0; passed < 5 * lease; passed += 50) await time.pass(50)
    }
    const lease = 3000
    const store = memoryStore()
    await using upstream = await countingUpstream()
    const options = { hub: { store, lease, poll: 60_000 }, linger: 1000 }
    await using a = await serveHub(upstream.url, options)
    await using b = await serveHub(upstream.url, { ...options, head: 'eager' })
    using first = await get(a.url)
    using second = await get(b.url)
    await isJoined(b)
    // At a renewal, the owner learns that another process listens.
    await passLeases()
    first.leave()
    await until(
      () => a.summaries.length === 1,
      () => 'the client of the owner has left',
    )
    await passLeases()
    await isOwner(a, b)
    await upstream.send()
    await has(second, 'event 1\n')
    expect(upstream.requests).to.have.length(1)
    second.leave()
    await until(
      () => b.summaries.length === 1,
      () => 'the client of the other process has left',
    )
    await passLeases()
    await isLeft(upstream)
    expect(await a.hub.status('/events')).to.include({ isOwner: false })
  })

  it('end a stream for the clients of both when one cancels it', async () => {
    const store = memoryStore()
    await using upstream = await countingUpstream()
    await using a = await serveHub(upstream.url, { hub: { store, ...longLease } })
    await using b = await serveHub(upstream.url, { hub: { store, ...longLease }, head: 'eager' })
    using first = await get(a.url)
    using second = await get(b.url)
    await isJoined(b)
    for (let n = 1; n <= 3; n++) await upstream.send()
    await has(second, 'event 3\n')
    expect(await b.hub.cancel('/events', 'enough')).to.equal(true)
    expect(await first.ended).to.equal('end')
    expect(await second.ended).to.equal('end')
    await isLeft(upstream)
    expect(dataIn(first)).to.deep.equal(numbered(1, 3))
    expect(await a.hub.status('/events')).to.include({ state: 'cancelled', clients: 0, isOwner: false })
    await until(
      () => a.summaries.length + b.summaries.length === 2,
      () => 'both relays end',
    )
    for (const { summaries } of [a, b]) expect(summaries[0]?.outcome).to.equal('cancelled')
  })

  for (const status of [400, 401, 403, 407, 503]) {
    const isTold = status !== 401 && status !== 403 && status !== 407
    it(`answer a ${status} of the upstream ${isTold ? 'with its body' : 'without its body'} to who waits at the other one`, async () => {
      const store = memoryStore()
      const waiting: ServerResponse[] = []
      await using upstream = await serve((_, response) => void waiting.push(response))
      const options = { hub: { store, ...longLease }, reconnect: { maxRetries: 0 } }
      const post = httpUpstream(upstream.url, { method: 'POST', body: '{}' })
      await using a = await serveHub(post, options)
      await using b = await serveHub(post, options)
      using first = ask(a.url, program)
      await until(
        () => waiting.length === 1,
        () => 'the request of the upstream',
      )
      using second = ask(b.url, program)
      await isJoined(b)
      const body = '{"error":"näh"}'
      waiting[0]?.writeHead(status, { 'content-type': 'application/problem+json' }).end(body)
      for (const client of [first, second]) {
        expect(await client.ended).to.equal('end')
        expect(client.status).to.equal(status)
        expect(client.headers['content-type']).to.equal(
          isTold ? 'application/problem+json' : 'text/plain; charset=utf-8',
        )
        if (isTold) expect(client.text).to.equal(body)
        else expect(client.text).to.not.include('error')
      }
      const [entry] = await store.read('/events', 'last', 1)
      expect(entry).to.include({ kind: 'end', how: 'failed', status })
      expect(entry?.kind === 'end' && entry.body?.toString()).to.equal(isTold ? body : undefined)
      expect(upstream.requests).to.have.length(1)
    })
  }

  it('never send a request again that is sent once, whichever of them its client returns to', async () => {
    const store = memoryStore()
    await using upstream = await countingUpstream()
    const options = { from: 'start', linger: Number.POSITIVE_INFINITY } as const
    await using a = await serveHub(postUpstream(upstream.url), { hub: { store, ...longLease }, ...options })
    await using b = await serveHub(postUpstream(upstream.url), { hub: { store, ...longLease }, ...options })
    const first = await get(a.url)
    await upstream.send()
    await has(first, 'event 1\n')
    first.leave()
    using second = await get(b.url, { 'last-event-id': idOf(first, 'event 1') })
    await upstream.send()
    await has(second, 'event 2\n')
    await a.hub.close()
    expect(await second.ended).to.equal('broken')
    expect(dataIn(second)).to.deep.equal(['event 2'])
    expect(upstream.requests).to.have.length(1)
  })

  it('serve a client that moves between them at each event', async () => {
    const store = memoryStore()
    await using upstream = await countingUpstream()
    await using a = await serveHub(upstream.url, { hub: { store, ...longLease } })
    await using b = await serveHub(upstream.url, { hub: { store, ...longLease } })
    expect(await moving(upstream, [a, b], 30)).to.deep.equal(numbered(1, 30))
    expect(upstream.requests).to.have.length(1)
  })

  for (const seed of [1, 2, 3, 4]) {
    it(`serve a client that moves between them while calls of the store go wrong at random, seed ${seed}`, async () => {
      const inner = memoryStore()
      const next = random(seed)
      const stores = [faultyStore(inner), faultyStore(inner)]
      const hub = { lease: 300, poll: 20, storeTimeout: 4000 }
      await using upstream = await countingUpstream()
      await using a = await serveHub(upstream.url, { hub: { ...hub, store: stores[0] }, linger: 100 })
      await using b = await serveHub(upstream.url, { hub: { ...hub, store: stores[1] }, linger: 100 })
      using watcher = await get(a.url)
      for (const store of stores) goWrong(store, next)
      expect(await moving(upstream, [a, b], 20)).to.deep.equal(numbered(1, 20))
      await has(watcher, 'event 20\n')
      expect(dataIn(watcher)).to.deep.equal(numbered(1, 20))
      for (const store of stores) store.fault = () => undefined
    })
  }
})

/** Sends events, and reads each with a connection of its own, from one hub after another. */
async function moving(
  upstream: { send(): Promise<void> },
  hubs: readonly HubServer[],
  count: number,
): Promise<string[]> {
  const seen: string[] = []
  let last: Client = await get(hubs[0]?.url ?? '', eventSource)
  await has(last, '\n\n')
  for (let n = 1; n <= count; n++) {
    await upstream.send()
    await has(last, `event ${n}\n\n`)
    seen.push(...dataIn(last))
    const id = idOf(last, `event ${n}`)
    last.leave()
    last = ask(hubs[n % hubs.length]?.url ?? '', { ...eventSource, 'last-event-id': id })
  }
  last.leave()
  return seen
}

function goWrong(store: FaultyStore, next: () => number): void {
  const faults: readonly Fault[] = ['rejects', 'late', 'loses the answer', 'twice']
  store.fault = () => (next() < 0.3 ? faults[Math.floor(next() * faults.length)] : undefined)
}

function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** Waits until a hub has a client in its place: one that is told of later events. */
async function isJoined({ hub }: HubServer, expected = 1): Promise<void> {
  let clients = 0
  await until(
    () => {
      void hub.status('/events').then((status) => {
        clients = status?.clients ?? 0
      })
      return clients >= expected
    },
    () => 'a client joins',
  )
  // The place of a client is known once the store has answered twice; each answer of the store in memory takes no turn.
  await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setImmediate(resolve))
}

async function isOwner(owner: HubServer, other: HubServer): Promise<void> {
  expect(await owner.hub.status('/events')).to.include({ isOwner: true })
  expect(await other.hub.status('/events')).to.include({ isOwner: false })
}

/** A store whose wakes name the entry that was appended. */
function namingStore(): StreamStore {
  const watchers = new Map<string, Set<(latest?: Position) => void>>()
  const wake = (stream: string, latest?: Position) => {
    for (const each of watchers.get(stream) ?? []) each(latest)
  }
  return wrapStore((store) => ({
    async append(stream, entry, ...rest) {
      const result = await store.append(stream, entry, ...rest)
      wake(stream, positionOf(entry))
      return result
    },
    async renew(stream, owner, lease, ...rest) {
      const result = await store.renew(stream, owner, lease, ...rest)
      if (lease === 0) wake(stream)
      return result
    },
    watch(stream, each) {
      const all = watchers.get(stream) ?? new Set()
      watchers.set(stream, all.add(each))
      return () => all.delete(each)
    },
  }))
}
