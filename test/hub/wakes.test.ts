import { expect } from 'chai'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import type { EventsEntry, StreamStore } from '../../src/index.ts'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { ask, get, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { countingUpstream, numbered } from '../support/feed.ts'
import { dataIn, type HubServer, serveHub } from '../support/hub.ts'
import { publisher } from '../support/publisher.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { redisProxy } from '../support/redis-proxy.ts'
import { wrapStore } from '../support/store.ts'
import { until } from '../support/until.ts'

/** Longer than a test: without wakes, nothing would be read. */
const long = { lease: 60_000, poll: 60_000 }

const lasting = { lease: 60_000, keepFor: 60_000 }

const clients: Readonly<Record<string, (url: string) => RedisClient>> = {
  redis: (url) => createClient({ url }),
  ioredis: (url) => new Redis(url, { lazyConnect: true }),
}

describe('the wakes of the store in Redis', () => {
  let server: RedisServer
  before(async () => {
    server = await startRedis()
  })
  after(() => server[Symbol.asyncDispose]())

  for (const [name, connect] of Object.entries(clients)) {
    it(`cost a process that follows one read an event, and the owner none, through the package ${name}`, async () => {
      const [owner, follower] = [
        countingReads(redisStore(connect(server.url))),
        countingReads(redisStore(connect(server.url))),
      ]
      await using upstream = await countingUpstream()
      await using a = await serveHub(upstream.url, {
        hub: { store: owner.store, ...long },
        nameOf: () => name,
      })
      await using b = await serveHub(upstream.url, {
        hub: { store: follower.store, ...long },
        nameOf: () => name,
        from: 'start',
      })
      using first = await get(a.url)
      await upstream.send()
      await has(first, 'event 1\n')
      using second = await get(b.url)
      await has(second, 'event 1\n')
      let sent = 1
      // Until the follower is woken: it begins to listen while the first events arrive.
      while (dataIn(second).length < 2) {
        await upstream.send()
        await has(first, `event ${++sent}\n`)
      }
      await has(second, `event ${sent}\n`)
      const before = [owner.reads, follower.reads]
      for (let n = sent + 1; n <= sent + 10; n++) {
        await upstream.send()
        await has(second, `event ${n}\n`)
      }
      const after = [owner.reads, follower.reads]
      expect(after.map((reads, n) => reads - (before[n] ?? 0))).to.deep.equal([0, 10])
      expect(dataIn(second)).to.deep.equal(numbered(1, sent + 10))
    })

    it(`reach an owner when others open or end its stream, and not at its own appends, through the package ${name}`, async () => {
      const [first, second] = [redisStore(connect(server.url)), redisStore(connect(server.url))]
      const direct = createClient({ url: server.url })
      await direct.connect()
      const stream = `owned ${name}`
      const wake = `rs:{${stream}}:wake`
      const subscribers = async () => {
        const counts = await direct.pubSubShardNumSub([wake, `${wake}:owner`])
        return [wake, `${wake}:owner`].map((channel) => Number(counts[channel]))
      }
      const areSubscribed = async (watchers: number, owners: number) => {
        while (String(await subscribers()) !== String([watchers, owners]));
      }
      let wakes: (string | undefined)[] = []
      first.watch(stream, (latest) => wakes.push(latest && `${latest.epoch}-${latest.seq}`))
      second.watch(stream, () => {})
      await areSubscribed(2, 0)
      const epoch = await opened(first, stream, 'first')
      await areSubscribed(1, 1)
      expect((await first.renew(stream, 'first', 60_000, 60_000)).listeners).to.equal(2)
      wakes = []
      expect(await first.append(stream, entryOf(epoch, 1))).to.equal('stored')
      // By this process itself, within the call.
      expect(wakes).to.deep.equal([`${epoch}-1`])
      await first.renew(stream, 'first', 0, 60_000)
      await areSubscribed(2, 0)
      const later = await opened(second, stream, 'second')
      await areSubscribed(1, 1)
      const { state } = await first.open(stream, 'third', { ...lasting, force: 'stop' })
      expect(state).to.equal('open')
      // The wake of the end has reached the owner, which has become one of those who listen to a stream of another process.
      await areSubscribed(2, 0)
      expect(await second.append(stream, entryOf(later, 1))).to.equal('fenced')
      for (const store of [first, second]) await store.close?.()
      direct.destroy()
    })
  }

  for (const [name, connect] of Object.entries(clients)) {
    it(`come on one of the three connections that a process has, for any number of streams, through the package ${name}`, async () => {
      await using own = await startRedis()
      await using upstream = await publisher(wire)
      const machine = () =>
        serveHub(upstream.server.url, {
          hub: { ...long, store: redisStore(connect(own.url)) },
          from: 'start',
        })
      await using a = await machine()
      await using b = await machine()
      const askAll = ({ url }: HubServer) => Array.from({ length: 10 }, (_, n) => ask(`${url}?${n}`))
      const owned = askAll(a)
      await until(
        () => upstream.open.size === owned.length,
        () => 'the upstream of each stream',
      )
      upstream.publish()
      const all = [...owned, ...askAll(b)]
      for (const client of all) await has(client, 'event 1\n')
      const direct = await createClient({ url: own.url }).connect()
      const others = (await direct.clientList()).length - 1
      direct.destroy()
      for (const client of all) client.leave()
      expect(others).to.equal(2 * 3)
    })
  }

  it('are those of the stream again after the owner was fenced', async () => {
    await using proxy = await redisProxy(server.port)
    const [first, second] = [
      redisStore(createClient({ url: proxy.url })),
      redisStore(createClient({ url: server.url })),
    ]
    const stream = 'fenced'
    let wakes = 0
    first.watch(stream, () => wakes++)
    const epoch = await opened(first, stream, 'first', 1)
    proxy.swallowsWakes = true
    const later = await openedLater(second, stream, 'second')
    expect(await first.append(stream, entryOf(epoch, 1))).to.equal('fenced')
    proxy.swallowsWakes = false
    wakes = 0
    let seq = 0
    while (wakes === 0) await second.append(stream, entryOf(later, ++seq))
    for (const store of [first, second]) await store.close?.()
  })

  it('need no look at the latest entry when a lease is renewed after an append, which has found nothing missing', async () => {
    const store = redisStore(createClient({ url: server.url }))
    const stream = 'renewed'
    const epoch = await opened(store, stream, 'owner')
    const renewed = async () => (await store.renew(stream, 'owner', 60_000, 60_000)).latest
    expect(await renewed()).to.deep.equal({ epoch, seq: 0 })
    await store.append(stream, entryOf(epoch, 1))
    expect(await renewed()).to.equal(undefined)
    expect(await renewed()).to.deep.equal({ epoch, seq: 1 })
    await store.close?.()
  })
})

/** Opens a stream, and returns its epoch. */
async function opened(store: StreamStore, stream: string, owner: string, lease = lasting.lease) {
  const result = await store.open(stream, owner, { ...lasting, lease })
  if (result.state !== 'open') throw new Error(`the stream is ${result.state}`)
  return result.epoch
}

/** Opens a stream once the lease of its owner has run out. */
async function openedLater(store: StreamStore, stream: string, owner: string): Promise<number> {
  for (;;) {
    const result = await store.open(stream, owner, lasting)
    if (result.state === 'open') return result.epoch
  }
}

function entryOf(epoch: number, seq: number): EventsEntry {
  return {
    kind: 'events',
    epoch,
    at: epoch,
    first: seq,
    last: seq,
    bytes: Buffer.from('data: 1\n\n'),
    cursor: undefined,
  }
}

function countingReads(inner: StreamStore): { readonly store: StreamStore; readonly reads: number } {
  let reads = 0
  const store = wrapStore(
    ({ read, close }) => ({
      read(...args) {
        reads++
        return read.apply(inner, args)
      },
      async close() {
        await close?.apply(inner)
      },
    }),
    inner,
  )
  return {
    store,
    get reads() {
      return reads
    },
  }
}
