import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { httpUpstream, type SharedStreamOptions } from '../../src/index.ts'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, eventSource, serveHub } from '../support/hub.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { redisProxy } from '../support/redis-proxy.ts'
import { serve, stream } from '../support/server.ts'
import { until } from '../support/until.ts'
import { wander } from './fleet.ts'

const packages: Readonly<Record<string, (url: string) => RedisClient>> = {
  redis: (url) => createClient({ url, socket: { reconnectStrategy: 20 } }),
  ioredis: (url) => new Redis(url, { lazyConnect: true, retryStrategy: () => 20 }),
}

/** Requests that the upstream is sent once. */
const completion: SharedStreamOptions = {
  linger: Number.POSITIVE_INFINITY,
  resume: 'before-first-event',
}

/** An upstream that writes a numbered event to every open stream. */
async function publisher() {
  const open = new Set<ServerResponse>()
  const server = await serve((_, response) => {
    open.add(stream(response))
    response.on('close', () => open.delete(response))
  })
  return {
    server,
    publish(n: number) {
      for (const response of open) response.write(wire(n))
    },
    end() {
      for (const response of open) response.end()
    },
    isOpen: () =>
      until(
        () => open.size > 0,
        () => 'the upstream is open',
      ),
    [Symbol.asyncDispose]: server.close,
  }
}

const numbered = (to: number) => Array.from({ length: to }, (_, n) => `event ${n + 1}`)

for (const [name, connect] of Object.entries(packages)) {
  describe(`a fleet whose network to Redis has faults, through the package ${name}`, function () {
    this.timeout(30_000)
    let redis: RedisServer
    let names = 0
    before(async () => {
      redis = await startRedis()
    })
    after(() => redis[Symbol.asyncDispose]())

    /** A hub that reaches Redis through a proxy of its own, and serves one stream. */
    const machine = async (upstream: string, streamName: string, options: SharedStreamOptions = {}) => {
      const proxy = await redisProxy(redis.port)
      const method = options.resume === undefined ? {} : { method: 'POST', body: '{}' }
      const hub = await serveHub(httpUpstream(upstream, method), {
        hub: { store: redisStore(connect(proxy.url)), poll: 100 },
        nameOf: () => streamName,
        from: 'start',
        ...options,
      })
      return {
        proxy,
        url: hub.url,
        async [Symbol.asyncDispose]() {
          await hub[Symbol.asyncDispose]()
          await proxy[Symbol.asyncDispose]()
        },
      }
    }
    const watcher = async () => {
      const client = createClient({ url: redis.url })
      await client.connect()
      return { client, [Symbol.dispose]: () => client.destroy() }
    }

    for (const [what, options] of [
      ['a feed', {}],
      ['a completion', completion],
    ] as const) {
      it(`stores each event of ${what} once whose append was carried out and not answered`, async () => {
        await using upstream = await publisher()
        const streamName = `network-${names++}`
        await using first = await machine(upstream.server.url, streamName, options)
        using owned = ask(first.url, eventSource)
        await upstream.isOpen()
        upstream.publish(1)
        await has(owned, 'event 1')
        await using second = await machine(upstream.server.url, streamName, options)
        using followed = ask(second.url, eventSource)
        await has(followed, 'event 1')
        using direct = await watcher()
        for (let n = 2; n <= 12; n++) {
          const length = await direct.client.xLen(`rs:{${streamName}}`)
          first.proxy.swallowsReplies = n % 3 === 0
          upstream.publish(n)
          while (first.proxy.swallowsReplies) {
            if ((await direct.client.xLen(`rs:{${streamName}}`)) === length) continue
            first.proxy.cut()
            first.proxy.swallowsReplies = false
          }
          await has(owned, `data: event ${n}\n`)
          await has(followed, `data: event ${n}\n`)
        }
        upstream.end()
        expect(dataIn(owned)).to.deep.equal(numbered(12))
        expect(dataIn(followed)).to.deep.equal(numbered(12))
        expect(upstream.server.requests).to.have.length(1)
      })
    }

    it('finds events by reading when every wake is lost', async () => {
      await using upstream = await publisher()
      const streamName = `network-${names++}`
      await using first = await machine(upstream.server.url, streamName)
      using owned = ask(first.url, eventSource)
      await upstream.isOpen()
      upstream.publish(1)
      await has(owned, 'event 1')
      await using second = await machine(upstream.server.url, streamName)
      using followed = ask(second.url, eventSource)
      await has(followed, 'event 1')
      using direct = await watcher()
      const listeners = () => direct.client.pubSubShardNumSub([`rs:{${streamName}}:wake`])
      while (Number(Object.values(await listeners())[0]) < 2);
      second.proxy.swallowsWakes = true
      for (let n = 2; n <= 5; n++) {
        upstream.publish(n)
        await has(followed, `data: event ${n}\n`)
      }
      await has(owned, 'data: event 5\n')
      expect(dataIn(followed)).to.deep.equal(numbered(5))
      expect(second.proxy.lostWakes).to.be.above(0)
    })

    it('has each event in order when every command is late, also for a client that moves at each event', async () => {
      await using upstream = await publisher()
      const streamName = `network-${names++}`
      await using first = await machine(upstream.server.url, streamName)
      await using second = await machine(upstream.server.url, streamName)
      first.proxy.delay = 15
      second.proxy.delay = 25
      using staying = ask(first.url, eventSource)
      await upstream.isOpen()
      upstream.publish(1)
      using moving = wander(second.url, 1)
      await moving.has('event 1')
      for (let n = 2; n <= 12; n++) {
        upstream.publish(n)
        if (n % 4 === 0) await moving.has(`event ${n}`)
      }
      await has(staying, 'data: event 12\n')
      expect(moving.data).to.deep.equal(numbered(12))
      expect(dataIn(staying)).to.deep.equal(numbered(12))
      expect(upstream.server.requests).to.have.length(1)
    })
  })
}
