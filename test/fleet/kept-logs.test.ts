import { expect } from 'chai'
import { createSseHub } from '../../src/index.ts'
import { redisStore } from '../../src/redis.ts'
import { ask } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { publisher } from '../support/publisher.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { connectTo, type MachineOptions, packages, publishFirst, startMachine } from './machines.ts'

for (const [name, connect] of Object.entries(packages)) {
  describe(`what a fleet keeps in Redis, through the package ${name}`, () => {
    let redis: RedisServer
    let names = 0
    before(async () => {
      // Redis removes whole nodes of a log alone: here a node has one entry.
      redis = await startRedis('--stream-node-max-entries', '1')
    })
    after(() => redis[Symbol.asyncDispose]())

    const machine = (upstream: string, stream: string, options?: MachineOptions) =>
      startMachine(upstream, stream, redisStore(connect(redis.url)), options)

    it("is kept for the stream's keepFor after a process has cancelled the stream that does not have it", async () => {
      const stream = `kept-${names++}-${name}`
      const keepFor = 3_600_000
      await using upstream = await publisher(wire)
      await using owner = await machine(upstream.server.url, stream, { keepFor })
      using client = ask(owner.url)
      await publishFirst(upstream, client)
      const hub = createSseHub({ store: redisStore(connect(redis.url)) })
      expect(await hub.cancel(stream, 'enough')).to.equal(true)
      expect(await client.ended).to.equal('end')
      await hub.close()
      using direct = await connectTo(redis.url)
      // The lease of 10 s counts too: only its owner knows how much of the time is the lease.
      expect(await direct.client.pTTL(`rs:{${stream}}`)).to.be.within(keepFor - 60_000, keepFor + 10_000)
    })
  })
}
