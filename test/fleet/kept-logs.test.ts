import { expect } from 'chai'
import { createSseHub } from '../../src/index.ts'
import { redisStore } from '../../src/redis.ts'
import { answerOf, ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { numbered } from '../support/feed.ts'
import { dataIn, eventSource, idOf } from '../support/hub.ts'
import { publisher } from '../support/publisher.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import {
  completion,
  connectTo,
  type MachineOptions,
  packages,
  publishFirst,
  startMachine,
} from './machines.ts'

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

    /** A machine whose stream keeps two events of six, and the id of the first one. */
    async function trimmed(stream: string, options: MachineOptions) {
      const upstream = await publisher(wire)
      const first = await machine(upstream.server.url, stream, { ...options, retention: { events: 2 } })
      using client = ask(first.url)
      await publishFirst(upstream, client)
      for (let n = 2; n <= 6; n++) {
        upstream.publish()
        await has(client, `event ${n}\n`)
      }
      return {
        upstream,
        id: { 'last-event-id': idOf(client, 'event 1') },
        async [Symbol.asyncDispose]() {
          await first[Symbol.asyncDispose]()
          await upstream[Symbol.asyncDispose]()
        },
      }
    }

    it('is less than a client of a feed has missed: it gets a gap and the oldest kept, or 410 with onGap refuse', async () => {
      const stream = `kept-${names++}-${name}`
      await using log = await trimmed(stream, {})
      await using second = await machine(log.upstream.server.url, stream, { statusEvents: true })
      using late = ask(second.url, { ...eventSource, ...log.id })
      await has(late, 'event 6\n')
      const [status, ...events] = dataIn(late)
      expect(status).to.equal('{"status":"gap"}')
      expect(events).to.deep.equal(numbered(7 - events.length, 6))
      expect(events).to.have.length.within(2, 3)
      await using strict = await machine(log.upstream.server.url, stream, { onGap: 'refuse' })
      expect((await answerOf(strict.url, { ...eventSource, ...log.id })).status).to.equal(410)
      expect(log.upstream.server.requests).to.have.length(1)
    })

    it('is less than a client of a completion has missed: it gets 410, or the rest with onGap continue', async () => {
      const stream = `kept-${names++}-${name}`
      await using log = await trimmed(stream, completion)
      await using second = await machine(log.upstream.server.url, stream, completion)
      expect((await answerOf(second.url, { ...eventSource, ...log.id })).status).to.equal(410)
      await using lenient = await machine(log.upstream.server.url, stream, {
        ...completion,
        onGap: 'continue',
      })
      using late = ask(lenient.url, log.id)
      await has(late, 'event 6\n')
      const events = dataIn(late)
      expect(events).to.deep.equal(numbered(7 - events.length, 6))
      expect(log.upstream.server.requests).to.have.length(1)
    })

    it('is nothing of the stream of an id: a feed is opened where the id says, and a completion is 410 and never asked for', async () => {
      const stream = `kept-${names++}-${name}`
      await using upstream = await publisher(wire)
      for (let n = 1; n <= 3; n++) upstream.publish()
      const id = { ...eventSource, 'last-event-id': '1795710055795-9/2' }
      await using answers = await machine(upstream.server.url, `${stream}-answer`, completion)
      expect((await answerOf(answers.url, id)).status).to.equal(410)
      expect(upstream.server.requests).to.have.length(0)
      await using feed = await machine(upstream.server.url, stream)
      using client = ask(feed.url, id)
      await has(client, 'event 3\n')
      expect(dataIn(client)).to.deep.equal(['event 3'])
      expect(upstream.server.requests[0]?.headers['last-event-id']).to.equal('2')
    })

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
