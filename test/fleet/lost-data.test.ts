import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { httpUpstream, type SharedStreamOptions } from '../../src/index.ts'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { answerOf, ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, eventSource, idOf, serveHub } from '../support/hub.ts'
import { startRedis } from '../support/redis.ts'
import { redisProxy } from '../support/redis-proxy.ts'
import { serve, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

const packages: Readonly<Record<string, (url: string) => RedisClient>> = {
  redis: (url) => createClient({ url, socket: { reconnectStrategy: 20 } }),
  ioredis: (url) => new Redis(url, { lazyConnect: true, retryStrategy: () => 20 }),
}

/** An upstream that numbers its events, keeps all of them, and resumes after the last event ID. */
async function publisher() {
  let latest = 0
  const open = new Set<ServerResponse>()
  const server = await serve((request, response) => {
    stream(response)
    open.add(response)
    response.on('close', () => open.delete(response))
    const { 'last-event-id': last = latest } = request.headers
    for (let n = Number(last) + 1; n <= latest; n++) response.write(wire(n))
  })
  return {
    server,
    isOpen: () =>
      until(
        () => open.size > 0,
        () => 'the upstream is open',
      ),
    publish() {
      latest++
      for (const response of open) response.write(wire(latest))
    },
    [Symbol.asyncDispose]: server.close,
  }
}

const numbered = (to: number) => Array.from({ length: to }, (_, n) => `event ${n + 1}`)
const key = 'rs:{log}'

async function admin(url: string) {
  const client = createClient({ url })
  client.on('error', () => {})
  await client.connect()
  return { client, [Symbol.dispose]: () => client.destroy() }
}

/** A master and a replica behind one address, which can lead to either. */
async function pair() {
  const master = await startRedis('--repl-diskless-sync-delay', '0')
  const link = await redisProxy(master.port)
  const replica = await startRedis('--replicaof', '127.0.0.1', String(link.port))
  const address = await redisProxy(master.port)
  return {
    replica,
    address,
    /** Stops the replication; the master goes on. */
    part() {
      link.swallowsReplies = true
    },
    /** Kills the master, and makes the replica the master. */
    async failOver() {
      await master.kill()
      using direct = await admin(replica.url)
      await direct.client.sendCommand(['REPLICAOF', 'NO', 'ONE'])
      address.target = replica.port
      address.cut()
    },
    async [Symbol.asyncDispose]() {
      for (const each of [address, replica, link, master]) await each[Symbol.asyncDispose]()
    },
  }
}

for (const [name, connect] of Object.entries(packages)) {
  describe(`a fleet whose Redis loses data, through the package ${name}`, function () {
    this.timeout(30_000)

    const machine = (
      upstream: string,
      url: string,
      options: SharedStreamOptions = {},
      windowBytes = 65_536,
    ) => {
      const method = options.resume === undefined ? {} : { method: 'POST', body: '{}' }
      return serveHub(httpUpstream(upstream, method), {
        hub: { store: redisStore(connect(url)), poll: 100, windowBytes },
        nameOf: () => 'log',
        from: 'start',
        ...options,
      })
    }

    it('appends the entries again that a replica lacks which takes over', async () => {
      await using upstream = await publisher()
      await using servers = await pair()
      await using first = await machine(upstream.server.url, servers.address.url)
      using owned = ask(first.url, eventSource)
      await upstream.isOpen()
      upstream.publish()
      await has(owned, 'event 1')
      await using second = await machine(upstream.server.url, servers.address.url)
      using followed = ask(second.url, eventSource)
      await has(followed, 'event 1')
      using direct = await admin(servers.replica.url)
      while ((await direct.client.xLen(key)) < 2);
      servers.part()
      for (let n = 2; n <= 4; n++) {
        upstream.publish()
        await has(owned, `event ${n}`)
      }
      await has(followed, 'event 4')
      await servers.failOver()
      expect(await direct.client.xLen(key)).to.equal(2)
      upstream.publish()
      await has(owned, 'event 5')
      await has(followed, 'event 5')
      using late = ask(second.url)
      await has(late, 'event 5')
      for (const client of [owned, followed, late]) expect(dataIn(client)).to.deep.equal(numbered(5))
      expect(upstream.server.requests).to.have.length(1)
    })

    it('goes on with a feed after all data was lost: nobody misses an event', async () => {
      await using upstream = await publisher()
      await using redis = await startRedis()
      await using hub = await machine(upstream.server.url, redis.url)
      using client = ask(hub.url, eventSource)
      await upstream.isOpen()
      for (let n = 1; n <= 3; n++) {
        upstream.publish()
        await has(client, `event ${n}`)
      }
      using direct = await admin(redis.url)
      await direct.client.flushAll()
      upstream.publish()
      await has(client, 'event 4')
      upstream.publish()
      await has(client, 'event 5')
      expect(dataIn(client)).to.deep.equal(numbered(5))
      using back = ask(hub.url, { ...eventSource, 'last-event-id': idOf(client, 'event 4') })
      await has(back, 'event 5')
      expect(dataIn(back)).to.deep.equal(['event 5'])
      expect(upstream.server.requests[1]?.headers['last-event-id']).to.equal('3')
    })

    it('never sends the request of a completion again after its data was lost or evicted', async () => {
      await using upstream = await publisher()
      await using redis = await startRedis()
      const once: SharedStreamOptions = { linger: Number.POSITIVE_INFINITY, resume: 'before-first-event' }
      await using hub = await machine(upstream.server.url, redis.url, once)
      using client = ask(hub.url)
      await upstream.isOpen()
      upstream.publish()
      await has(client, 'event 1')
      using direct = await admin(redis.url)
      await direct.client.del(key)
      upstream.publish()
      await until(
        () => client.over !== undefined,
        () => 'the end of the client',
      )
      expect(client.over).to.equal('broken')
      const again = await answerOf(hub.url, { 'last-event-id': idOf(client, 'event 1') })
      expect(again.status).to.equal(410)
      expect(upstream.server.requests).to.have.length(1)
    })
  })
}
