import { expect } from 'chai'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import type { StreamStore } from '../../src/hub/store.ts'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { startCluster } from '../support/redis-cluster.ts'

const times = { lease: 60_000, keepFor: 60_000 }
const names = Array.from({ length: 40 }, (_, n) => `stream ${n}`)

const clients: Readonly<Record<string, (url: string) => RedisClient>> = {
  'the package redis': (url) => createClient({ url }),
  'the package redis, which speaks RESP2': (url) => createClient({ url, RESP: 2 }),
  'the package ioredis': (url) => new Redis(url, { lazyConnect: true }),
  'the package ioredis, which speaks RESP2': (url) => new Redis(url, { lazyConnect: true, protocol: 2 }),
  'the package ioredis, which adds a prefix to keys': (url) =>
    new Redis(url, { lazyConnect: true, keyPrefix: 'of {a} tenant:' }),
}

/** Opens the streams, and appends an event to every second one. @returns For each stream where it has begun. */
async function fill(store: StreamStore) {
  const starts = await Promise.all(
    names.map(async (name) => {
      const opened = await store.open(name, `owner of ${name}`, times)
      if (opened.state !== 'open') throw new Error(opened.state)
      return { name, epoch: opened.epoch }
    }),
  )
  for (const [n, { name, epoch }] of starts.entries()) {
    const event = { kind: 'events', epoch, at: epoch, first: 1, last: 1, cursor: undefined } as const
    if (n % 2 === 0) await store.append(name, { ...event, bytes: Buffer.from(name) })
  }
  return starts
}

/** A server, and how often it has carried out commands since the test has asked last. */
async function counted(server: RedisServer) {
  const client = createClient({ url: server.url })
  await client.connect()
  return {
    send: (...args: string[]) => client.sendCommand(args),
    async calls(...commands: string[]) {
      const info = await client.info('commandstats')
      await client.configResetStat()
      return commands.map((name) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(info)?.[1] ?? 0))
    },
    [Symbol.dispose]: () => client.destroy(),
  }
}

/** Reads what follows the beginning of each stream: the events' text, or how the read has failed. */
function readAll(store: StreamStore, starts: Awaited<ReturnType<typeof fill>>) {
  const reads = starts.map(async ({ name, epoch }) => {
    const entries = await store.read(name, { epoch, seq: 1 }, 1000)
    return entries.map((entry) => (entry.kind === 'events' ? entry.bytes.toString() : entry.kind)).join()
  })
  return Promise.all(reads.map((read) => read.catch((error: Error) => error.message)))
}

/** Extends the lease of each stream: who watches it, or how the call has failed. */
function renewAll(store: StreamStore, owned: readonly string[] = names) {
  const renewals = owned.map(async (name) => {
    const { held, listeners } = await store.renew(name, `owner of ${name}`, 90_000, 60_000)
    return held ? `held, ${listeners} listen` : 'lost'
  })
  return Promise.all(renewals.map((each) => each.catch((error: Error) => error.message)))
}

const stored = names.map((name, n) => (n % 2 === 0 ? name : ''))

describe('calls of one turn to the store in Redis', () => {
  let server: RedisServer
  before(async () => {
    server = await startRedis()
  })
  after(() => server[Symbol.asyncDispose]())

  for (const [title, connect] of Object.entries(clients)) {
    describe(`through ${title}`, () => {
      it('read many streams in one command, those that have nothing new or do not exist too', async () => {
        const store = redisStore(connect(server.url))
        using redis = await counted(server)
        try {
          const starts = await fill(store)
          await redis.calls()
          const unknown = { name: 'unknown', epoch: 1 }
          expect(await readAll(store, [...starts, unknown])).to.deep.equal([...stored, ''])
          expect(await redis.calls('xread', 'xrange')).to.deep.equal([1, 0])
          const ends = starts.map(({ name, epoch }) => ({ name, epoch: epoch + 1 }))
          expect(await readAll(store, ends)).to.deep.equal(names.map(() => ''))
          expect(await redis.calls('xread', 'xrange')).to.deep.equal([1, 0])
        } finally {
          await store.close?.()
          await redis.send('FLUSHALL')
        }
      })

      it('extend many leases in one call, and each is answered', async () => {
        const store = redisStore(connect(server.url))
        using redis = await counted(server)
        try {
          await fill(store)
          await store.renew('stream 5', 'owner of stream 5', 0, 60_000)
          await redis.calls()
          expect(await renewAll(store, [...names, 'unknown'])).to.deep.equal([
            ...names.map((_, n) => (n === 5 ? 'lost' : 'held, 0 listen')),
            'lost',
          ])
          // The script is sent once more with its text where the server does not have it.
          const [first = 0, again = 0] = await redis.calls('evalsha', 'eval')
          expect(first).to.equal(1)
          expect(again).to.be.at.most(1)
          const released = await Promise.all(
            names.map((name) => store.renew(name, `owner of ${name}`, 0, 60_000)),
          )
          expect(released.filter(({ held }) => held)).to.have.lengthOf(names.length - 1)
          expect(await redis.calls('evalsha', 'eval')).to.deep.equal([1, 0])
          expect(new Set(await renewAll(store))).to.deep.equal(new Set(['lost']))
        } finally {
          await store.close?.()
          await redis.send('FLUSHALL')
        }
      })

      it('read one stream from several places at once', async () => {
        const store = redisStore(connect(server.url))
        using redis = await counted(server)
        try {
          const [start, other] = await fill(store)
          if (!start || !other) throw new Error('there is no stream')
          const { name, epoch } = start
          const places = [-1, 0, 1, 2].map((seq) => (seq < 0 ? ('first' as const) : { epoch, seq }))
          const reads = places.map(async (from) =>
            (await store.read(name, from, 65_536)).map(({ kind }) => kind),
          )
          const [entry] = await store.read(other.name, 'first', 65_536)
          expect(entry).to.include({ kind: 'open' })
          expect(await Promise.all(reads)).to.deep.equal([
            ['open', 'events'],
            ['open', 'events'],
            ['events'],
            [],
          ])
        } finally {
          await store.close?.()
          await redis.send('FLUSHALL')
        }
      })
    })
  }

  it('fail alone where one key is of another type', async () => {
    const store = redisStore(createClient({ url: server.url }))
    using redis = await counted(server)
    try {
      const starts = await fill(store)
      await redis.send('SET', `rs:{${names[3]}}`, 'of another program')
      const answers = await readAll(store, starts)
      expect(answers.splice(3, 1)).to.match(/WRONGTYPE/)
      expect(answers).to.deep.equal(stored.toSpliced(3, 1))
      const renewed = await renewAll(store)
      expect(renewed.splice(3, 1)).to.match(/WRONGTYPE/)
      expect(new Set(renewed)).to.deep.equal(new Set(['held, 0 listen']))
    } finally {
      await store.close?.()
      await redis.send('FLUSHALL')
    }
  })

  it('are made one by one in a cluster', async () => {
    await using cluster = await startCluster(1)
    const [single] = cluster.servers
    if (!single) throw new Error('a cluster without a server')
    const store = redisStore(createClient({ url: single.url }))
    using redis = await counted(single)
    try {
      const starts = await fill(store)
      expect(await readAll(store, starts)).to.deep.equal(stored)
      expect(new Set(await renewAll(store))).to.deep.equal(new Set(['held, 0 listen']))
      await redis.calls()
      expect(await readAll(store, starts)).to.deep.equal(stored)
      expect(await redis.calls('xread', 'xrange')).to.deep.equal([0, names.length])
      await renewAll(store)
      expect(await redis.calls('evalsha')).to.deep.equal([names.length])
    } finally {
      await store.close?.()
    }
  })
})
