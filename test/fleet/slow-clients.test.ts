import { expect } from 'chai'
import { ask, type Client } from '../support/client.ts'
import { eventSource } from '../support/hub.ts'
import { publisher } from '../support/publisher.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { eventually, startFleet } from './fleet.ts'

/** An owner keeps its upstream, also when the machine has other work for a second. */
const steady = { LEASE: '10000', POLL: '100', LINGER: '10000', STALL_TIMEOUT: '300' }

const rest = 'x'.repeat(100_000)

/** The whole events that a client has received: their numbers, and the id of the last one. */
function wholeEvents({ text }: Client) {
  const events = text
    .split('\n\n')
    .slice(0, -1)
    .filter((block) => block.includes(`:${rest}`))
  const numbers = events.map((block) => Number(/^data: (\d+):/m.exec(block)?.[1]))
  return { numbers, lastId: /^id: (.*)$/m.exec(events.at(-1) ?? '')?.[1] ?? '' }
}

describe('a client of a fleet that takes nothing for stallTimeout', () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis[Symbol.asyncDispose]())

  for (const [kind, format] of [
    ['feed', (n: number) => `id: ${n}\ndata: ${n}:${rest}\n\n`],
    ['session', (n: number) => `data: ${n}:${rest}\n\n`],
  ] as const) {
    it(`is cut off, and gets the rest at another machine with its id: a ${kind}`, async () => {
      await using upstream = await publisher(format)
      await using fleet = await startFleet(2, { REDIS: redis.url, UPSTREAM: upstream.server.url, ...steady })
      const [first, second] = fleet.machines
      if (!first || !second) throw new Error('no machines')
      const name = `slow-${kind}-${process.pid}`
      using stalled = ask(`${first.url}/${kind}/${name}`)
      await eventually(
        () => upstream.open.size === 1,
        () => 'the upstream is open',
      )
      let published = 0
      const publish = async (reader: Client) => {
        upstream.publish()
        published++
        await eventually(
          () => wholeEvents(reader).numbers.at(-1) === published,
          () => `event ${published}`,
        )
      }
      await publish(stalled)
      using reader = ask(`${second.url}/${kind}/${name}`, eventSource)
      await eventually(
        () => reader.text.includes('id: '),
        () => 'the place of the reader',
      )
      await publish(reader)
      stalled.reads(false)
      const clients = async () => (await fetch(`${first.url}/status/${name}`)).text()
      while (!/"clients":0/.test(await clients())) await publish(reader)
      stalled.reads(true)
      expect(await stalled.ended).to.equal('broken')
      const had = wholeEvents(stalled)
      using back = ask(`${second.url}/${kind}/${name}`, { 'last-event-id': had.lastId })
      for (let n = 0; n < 3; n++) await publish(back)
      expect(had.numbers.length).to.be.below(published - 3)
      expect([...had.numbers, ...wholeEvents(back).numbers]).to.deep.equal(
        Array.from({ length: published }, (_, n) => n + 1),
      )
      expect(upstream.server.requests).to.have.length(1)
    })
  }
})
