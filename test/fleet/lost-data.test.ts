import { expect } from 'chai'
import { redisStore } from '../../src/redis.ts'
import { answerOf, ask, type Client, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { numbered } from '../support/feed.ts'
import { dataIn, eventSource, idOf } from '../support/hub.ts'
import { type Publisher, publisher } from '../support/publisher.ts'
import { startRedis } from '../support/redis.ts'
import { redisProxy } from '../support/redis-proxy.ts'
import { until } from '../support/until.ts'
import {
  completion,
  connectTo,
  type MachineOptions,
  packages,
  publishFirst,
  startMachine,
  twoMachines,
} from './machines.ts'

const key = 'rs:{log}'

/** Publishes the events from 2 on, each when the client has the one before. */
async function publishUpTo(last: number, upstream: Publisher, client: Client): Promise<void> {
  for (let n = 2; n <= last; n++) {
    upstream.publish()
    await has(client, `event ${n}`)
  }
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
      using direct = await connectTo(replica.url)
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
  describe(`a fleet whose Redis loses data, through the package ${name}`, () => {
    const machine = (upstream: string, url: string, options?: MachineOptions) =>
      startMachine(upstream, 'log', redisStore(connect(url)), options)

    it('appends the entries again that a replica lacks which takes over', async () => {
      await using servers = await pair()
      await using fleet = await twoMachines((upstream) => machine(upstream, servers.address.url))
      const { upstream, second, owned, followed } = fleet
      using direct = await connectTo(servers.replica.url)
      while ((await direct.client.xLen(key)) < 2);
      servers.part()
      await publishUpTo(4, upstream, owned)
      await has(followed, 'event 4')
      await servers.failOver()
      expect(await direct.client.xLen(key)).to.equal(2)
      upstream.publish()
      await has(owned, 'event 5')
      await has(followed, 'event 5')
      using late = ask(second.url)
      await has(late, 'event 5')
      for (const client of [owned, followed, late]) expect(dataIn(client)).to.deep.equal(numbered(1, 5))
      expect(upstream.server.requests).to.have.length(1)
    })

    it('appends the entries again that a replica lacks which takes over, although no further event follows', async () => {
      await using upstream = await publisher(wire)
      await using servers = await pair()
      const hub = { poll: 100, lease: 2000 }
      await using first = await machine(upstream.server.url, servers.address.url, { hub })
      using owned = ask(first.url, eventSource)
      await publishFirst(upstream, owned)
      using direct = await connectTo(servers.replica.url)
      while ((await direct.client.xLen(key)) < 2);
      servers.part()
      await publishUpTo(4, upstream, owned)
      await servers.failOver()
      while ((await direct.client.xLen(key)) < 5);
      await using second = await machine(upstream.server.url, servers.address.url)
      using late = ask(second.url)
      await has(late, 'event 4')
      for (const client of [owned, late]) expect(dataIn(client)).to.deep.equal(numbered(1, 4))
      expect(upstream.server.requests).to.have.length(1)
    })

    it('begins a new epoch when the entries that a replica lacks are no longer in memory: clients get a gap, and miss no event', async () => {
      await using upstream = await publisher(wire)
      await using servers = await pair()
      const hub = { poll: 100, lease: 2000, windowBytes: 0 }
      const options = { hub, statusEvents: true }
      await using first = await machine(upstream.server.url, servers.address.url, options)
      using owned = ask(first.url, eventSource)
      await publishFirst(upstream, owned)
      using direct = await connectTo(servers.replica.url)
      while ((await direct.client.xLen(key)) < 2);
      servers.part()
      await publishUpTo(4, upstream, owned)
      await servers.failOver()
      await until(
        () => upstream.server.requests.length === 2,
        () => 'a new epoch',
      )
      upstream.publish()
      await has(owned, 'event 5')
      using late = ask(first.url)
      await has(late, 'event 5')
      // The store has lost the epoch of the client's events: the client gets a gap, and then the events of the new epoch.
      expect(owned.text.slice(0, owned.text.indexOf('data: event 5'))).to.match(/^data: .*gap/m)
      const events = dataIn(owned).filter((data) => data.startsWith('event'))
      expect(events).to.deep.equal([...numbered(1, 4), ...numbered(2, 5)])
      expect(dataIn(late)).to.deep.equal(numbered(1, 5))
    })

    it('appends the entries of a completion again that a replica lacks which takes over: the request is sent once', async () => {
      await using servers = await pair()
      const start = (upstream: string) => machine(upstream, servers.address.url, completion)
      await using fleet = await twoMachines(start, {})
      const { upstream, second, owned, followed } = fleet
      using direct = await connectTo(servers.replica.url)
      while ((await direct.client.xLen(key)) < 2);
      servers.part()
      await publishUpTo(4, upstream, owned)
      await has(followed, 'event 4')
      await servers.failOver()
      upstream.publish()
      upstream.end()
      const all = [...numbered(1, 5), '[DONE]']
      for (const client of [owned, followed]) {
        expect(await client.ended).to.equal('end')
        expect(dataIn(client)).to.deep.equal(all)
      }
      const back = await answerOf(second.url, { 'last-event-id': idOf(owned, 'event 3') })
      expect(dataIn(back)).to.deep.equal(all.slice(3))
      expect(back.over).to.equal('end')
      expect(upstream.server.requests).to.have.length(1)
    })

    it('shows the clients of a completion that entries are lost which a replica lacks and no machine has in memory', async () => {
      await using upstream = await publisher(wire)
      await using servers = await pair()
      const hub = { poll: 100, lease: 2000, windowBytes: 0 }
      await using first = await machine(upstream.server.url, servers.address.url, { ...completion, hub })
      using owned = ask(first.url)
      await publishFirst(upstream, owned)
      using direct = await connectTo(servers.replica.url)
      while ((await direct.client.xLen(key)) < 2);
      servers.part()
      await publishUpTo(4, upstream, owned)
      await servers.failOver()
      upstream.publish()
      expect(await owned.ended).to.equal('broken')
      expect(dataIn(owned)).to.deep.equal(numbered(1, 4))
      await until(
        () => upstream.open.size === 0,
        () => 'the upstream is closed',
      )
      // Half a completion with a hole would look like a whole one.
      const back = await answerOf(first.url, { 'last-event-id': idOf(owned, 'event 4') })
      expect(back.status).to.equal(410)
      const late = await answerOf(first.url)
      expect(dataIn(late)).to.deep.equal(numbered(1, 1))
      expect(late.over).to.equal('broken')
      expect(upstream.server.requests).to.have.length(1)
    })

    it('goes on with a feed after all data was lost: no client misses an event', async () => {
      await using upstream = await publisher(wire)
      await using redis = await startRedis()
      await using hub = await machine(upstream.server.url, redis.url)
      using client = ask(hub.url, eventSource)
      await publishFirst(upstream, client)
      await publishUpTo(3, upstream, client)
      using direct = await connectTo(redis.url)
      await direct.client.flushAll()
      upstream.publish()
      await has(client, 'event 4')
      upstream.publish()
      await has(client, 'event 5')
      expect(dataIn(client)).to.deep.equal(numbered(1, 5))
      using back = ask(hub.url, { ...eventSource, 'last-event-id': idOf(client, 'event 4') })
      await has(back, 'event 5')
      expect(dataIn(back)).to.deep.equal(['event 5'])
      expect(upstream.server.requests[1]?.headers['last-event-id']).to.equal('3')
    })

    it('tells an EventSource when to come back while Redis is away for longer than storeTimeout, and goes on when Redis is back', async () => {
      await using upstream = await publisher(wire)
      await using redis = await startRedis()
      await using hub = await machine(upstream.server.url, redis.url, { hub: { storeTimeout: 300 } })
      using client = ask(hub.url, eventSource)
      await publishFirst(upstream, client)
      await redis.kill()
      upstream.publish()
      expect(await client.ended).to.equal('broken')
      const away = await answerOf(hub.url, { ...eventSource, 'last-event-id': idOf(client, 'event 1') })
      expect(away).to.include({ status: 200, over: 'end' })
      expect(away.headers['content-type']).to.match(/^text\/event-stream/)
      expect(away.text).to.match(/^retry: \d+\n$/)
      const refused = await answerOf(hub.url, { accept: 'application/json' })
      expect(refused.status).to.equal(503)
      expect(refused.headers['retry-after']).to.equal('1')
      await redis.restart()
      for (let text = ''; !text.includes('event 2'); ) {
        using back = ask(hub.url, { ...eventSource, 'last-event-id': idOf(client, 'event 1') })
        await until(
          () => back.over !== undefined || back.text.includes('event 2'),
          () => `an answer, not ${back.status} ${back.text}`,
        )
        text = back.text
      }
    })

    for (const policy of ['allkeys-lru', 'volatile-ttl']) {
      it(`goes on with a feed whose log was evicted by the policy ${policy}: no client misses an event`, async () => {
        await using upstream = await publisher(wire)
        await using redis = await startRedis('--maxmemory-policy', policy)
        await using hub = await machine(upstream.server.url, redis.url, { hub: { poll: 100, lease: 2000 } })
        using client = ask(hub.url, eventSource)
        await publishFirst(upstream, client)
        using direct = await connectTo(redis.url)
        const used = Number(/used_memory:(\d+)/.exec(await direct.client.info('memory'))?.[1])
        await direct.client.configSet('maxmemory', String(used + 500_000))
        // Keys that live longer than the log push it out, or at random.
        for (let n = 0; (await direct.client.exists(key)) > 0; n++)
          await direct.client.set(`filler ${n}`, 'x'.repeat(10_000), { EX: 100_000 })
        // Room for the new log, whatever a slow server still holds.
        await direct.client.configSet('maxmemory', '0')
        upstream.publish()
        await has(client, 'event 2')
        upstream.publish()
        await has(client, 'event 3')
        expect(dataIn(client)).to.deep.equal(numbered(1, 3))
        using back = ask(hub.url, { ...eventSource, 'last-event-id': idOf(client, 'event 2') })
        await has(back, 'event 3')
        expect(dataIn(back)).to.deep.equal(['event 3'])
      })
    }

    it('never sends the request of a completion again after its data was lost or evicted', async () => {
      await using upstream = await publisher(wire)
      await using redis = await startRedis()
      await using hub = await machine(upstream.server.url, redis.url, completion)
      using client = ask(hub.url)
      await publishFirst(upstream, client)
      using direct = await connectTo(redis.url)
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
