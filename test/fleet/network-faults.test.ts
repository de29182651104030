import { expect } from 'chai'
import type { SharedStreamOptions } from '../../src/index.ts'
import { redisStore } from '../../src/redis.ts'
import { ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { numbered } from '../support/feed.ts'
import { dataIn, eventSource } from '../support/hub.ts'
import { publisher } from '../support/publisher.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { redisProxy } from '../support/redis-proxy.ts'
import { wander } from './fleet.ts'
import { completion, connectTo, packages, publishFirst, startMachine, twoMachines } from './machines.ts'

for (const [name, connect] of Object.entries(packages)) {
  describe(`a fleet whose network to Redis has faults, through the package ${name}`, () => {
    let redis: RedisServer
    let names = 0
    before(async () => {
      redis = await startRedis()
    })
    after(() => redis[Symbol.asyncDispose]())

    /** A hub that reaches Redis through a proxy of its own, and serves one stream. */
    const machine = async (upstream: string, streamName: string, options: SharedStreamOptions = {}) => {
      const proxy = await redisProxy(redis.port)
      const hub = await startMachine(upstream, streamName, redisStore(connect(proxy.url)), options)
      return {
        proxy,
        url: hub.url,
        async [Symbol.asyncDispose]() {
          await hub[Symbol.asyncDispose]()
          await proxy[Symbol.asyncDispose]()
        },
      }
    }
    /** Waits until two machines listen for the wakes of a stream. */
    const bothListen = async (streamName: string) => {
      using direct = await connectTo(redis.url)
      const wake = `rs:{${streamName}}:wake`
      const listeners = async () => {
        const counts = await direct.client.pubSubShardNumSub([wake, `${wake}:owner`])
        return [wake, `${wake}:owner`].map((channel) => Number(counts[channel]))
      }
      while (String(await listeners()) !== '1,1');
    }

    for (const [what, options] of [
      ['a feed', {}],
      ['a completion', completion],
    ] as const) {
      it(`stores each event of ${what} once whose append was carried out and not answered`, async () => {
        const streamName = `network-${names++}`
        await using fleet = await twoMachines((upstream) => machine(upstream, streamName, options))
        const { upstream, first, owned, followed } = fleet
        using direct = await connectTo(redis.url)
        for (let n = 2; n <= 12; n++) {
          const length = await direct.client.xLen(`rs:{${streamName}}`)
          first.proxy.swallowsReplies = n % 3 === 0
          upstream.publish()
          while (first.proxy.swallowsReplies) {
            if ((await direct.client.xLen(`rs:{${streamName}}`)) === length) continue
            first.proxy.cut()
            first.proxy.swallowsReplies = false
          }
          await has(owned, `data: event ${n}\n`)
          await has(followed, `data: event ${n}\n`)
        }
        upstream.end()
        expect(dataIn(owned)).to.deep.equal(numbered(1, 12))
        expect(dataIn(followed)).to.deep.equal(numbered(1, 12))
        expect(upstream.server.requests).to.have.length(1)
      })
    }

    it('finds events by reading when every wake is lost', async () => {
      const streamName = `network-${names++}`
      await using fleet = await twoMachines((upstream) => machine(upstream, streamName))
      const { upstream, second, owned, followed } = fleet
      await bothListen(streamName)
      second.proxy.swallowsWakes = true
      for (let n = 2; n <= 5; n++) {
        upstream.publish()
        await has(followed, `data: event ${n}\n`)
      }
      await has(owned, 'data: event 5\n')
      expect(dataIn(followed)).to.deep.equal(numbered(1, 5))
      expect(second.proxy.lostWakes).to.be.above(0)
    })

    for (const [what, options, last] of [
      ['a feed', { isTerminal: ({ data }) => data === 'last' }, 'data: last\n\n'],
      ['a completion', completion, ''],
    ] as const satisfies readonly (readonly [string, SharedStreamOptions, string])[]) {
      it(`finds the end of ${what} by reading when the wake of the end alone is lost`, async () => {
        const streamName = `network-${names++}`
        await using fleet = await twoMachines((upstream) => machine(upstream, streamName, options))
        const { upstream, second, owned, followed } = fleet
        await bothListen(streamName)
        second.proxy.swallowsWakes = true
        upstream.end(last)
        for (const client of [owned, followed]) {
          expect(await client.ended).to.equal('end')
          expect(dataIn(client)[0]).to.equal('event 1')
        }
        expect(second.proxy.lostWakes).to.be.above(0)
        expect(upstream.server.requests).to.have.length(1)
      })
    }

    it('has each event in order when every command is late, also for a client that moves at each event', async () => {
      await using upstream = await publisher(wire)
      const streamName = `network-${names++}`
      await using first = await machine(upstream.server.url, streamName)
      await using second = await machine(upstream.server.url, streamName)
      first.proxy.delay = 15
      second.proxy.delay = 25
      using staying = ask(first.url, eventSource)
      await publishFirst(upstream, staying)
      using moving = wander(second.url, 1)
      await moving.has('event 1')
      for (let n = 2; n <= 12; n++) {
        upstream.publish()
        if (n % 4 === 0) await moving.has(`event ${n}`)
      }
      await has(staying, 'data: event 12\n')
      expect(moving.data).to.deep.equal(numbered(1, 12))
      expect(dataIn(staying)).to.deep.equal(numbered(1, 12))
      expect(upstream.server.requests).to.have.length(1)
    })
  })
}
