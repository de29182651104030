import { expect } from 'chai'
import { answerOf, ask, type Client } from '../support/client.ts'
import { dataIn, idOf } from '../support/hub.ts'
import { type Publisher, publisher } from '../support/publisher.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { redisProxy } from '../support/redis-proxy.ts'
import { eventually, type Fleet, has, startFleet } from './fleet.ts'

const quick = { LEASE: '300', POLL: '100', STORE_TIMEOUT: '1500' }
/** An owner keeps its upstream, also when the machine has other work for a second. */
const steady = { LEASE: '10000', POLL: '100', STORE_TIMEOUT: '30000' }

const isOver = (client: Client) =>
  eventually(
    () => client.over !== undefined,
    () => `the end of ${client.status} ${client.text.slice(-200)}`,
  )

describe('a completion in a fleet', () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis[Symbol.asyncDispose]())
  let names = 0

  /** Two machines, each with a client that has had the first event. The first machine has the upstream. */
  async function answering(env: NodeJS.ProcessEnv) {
    const upstream: Publisher = await publisher((n) => `data: event ${n}\n\n`)
    const fleet: Fleet = await startFleet(2, { REDIS: redis.url, UPSTREAM: upstream.server.url, ...env })
    const path = `session/c${names++}-${process.pid}`
    const [first, second] = fleet.machines
    if (!first || !second) throw new Error('no machines')
    const [here, elsewhere] = [`${first.url}/${path}`, `${second.url}/${path}`]
    const owned = ask(here)
    await eventually(
      () => upstream.open.size === 1,
      () => 'the POST',
    )
    upstream.publish()
    await has(owned, 'event 1')
    const followed = ask(elsewhere)
    await has(followed, 'event 1')
    return {
      upstream,
      owner: first.program.child,
      here,
      elsewhere,
      owned,
      followed,
      async [Symbol.asyncDispose]() {
        owned.leave()
        followed.leave()
        await fleet[Symbol.asyncDispose]()
        await upstream[Symbol.asyncDispose]()
      },
    }
  }

  it('goes on at another machine for a client that comes back there: the POST is sent once', async () => {
    await using answer = await answering(steady)
    const { upstream, owned, elsewhere } = answer
    owned.leave()
    upstream.publish()
    using back = ask(elsewhere, { 'last-event-id': idOf(owned, 'event 1') })
    await has(back, 'event 2')
    upstream.publish()
    upstream.end()
    await has(back, '[DONE]')
    expect(dataIn(back)).to.deep.equal(['event 2', 'event 3', '[DONE]'])
    // It has missed something of a stream that is over: the rest, and the end as it was.
    const rest = await answerOf(elsewhere, { 'last-event-id': idOf(back, 'event 2') })
    expect(dataIn(rest)).to.deep.equal(['event 3', '[DONE]'])
    expect(rest.over).to.equal('end')
    expect(upstream.server.requests).to.have.length(1)
  })

  it('has ended for an owner that was suspended past its lease: it closes its upstream, and its clients see the failure', async () => {
    await using answer = await answering(quick)
    const { upstream, owner, here, elsewhere, owned, followed } = answer
    owner.kill('SIGSTOP')
    await isOver(followed)
    expect(followed.over).to.equal('broken')
    upstream.publish()
    owner.kill('SIGCONT')
    await isOver(owned)
    expect(owned.over).to.equal('broken')
    await eventually(
      () => upstream.open.size === 0,
      () => 'the former owner closes its upstream',
    )
    for (const url of [here, elsewhere]) {
      const again = await answerOf(url)
      expect(dataIn(again)).to.deep.equal(['event 1'])
      expect(again.over).to.equal('broken')
    }
    expect(upstream.server.requests).to.have.length(1)
  })

  it('is broken off when its owner shuts down and the drain time is over; what is stored can be had', async () => {
    await using answer = await answering(quick)
    const { upstream, owner, elsewhere, owned, followed } = answer
    owner.kill('SIGTERM')
    upstream.publish()
    for (const client of [owned, followed]) {
      await isOver(client)
      expect(client.over).to.equal('broken')
      expect(dataIn(client)).to.deep.equal(['event 1', 'event 2'])
    }
    const again = await answerOf(elsewhere, { 'last-event-id': idOf(followed, 'event 1') })
    expect(dataIn(again)).to.deep.equal(['event 2'])
    expect(again.over).to.equal('broken')
    expect(upstream.server.requests).to.have.length(1)
  })

  it('sends heartbeats while Redis is suspended, and then everything', async () => {
    await using answer = await answering(steady)
    const { upstream, owned, followed } = answer
    redis.suspend()
    upstream.publish()
    for (const client of [owned, followed]) {
      const before = client.text.length
      await eventually(
        () => client.text.slice(before).includes(':\n:\n'),
        () => 'heartbeats',
      )
      expect(dataIn(client)).to.deep.equal(['event 1'])
    }
    redis.wake()
    upstream.publish()
    upstream.end()
    for (const client of [owned, followed]) {
      await has(client, '[DONE]')
      expect(dataIn(client)).to.deep.equal(['event 1', 'event 2', 'event 3', '[DONE]'])
    }
    expect(upstream.server.requests).to.have.length(1)
  })

  it('comes later and in order while Redis is slow, also for a client that moves: the POST is sent once', async () => {
    await using slow = await redisProxy(redis.port)
    slow.delay = 30
    await using answer = await answering({ ...steady, REDIS: slow.url })
    const { upstream, owned, followed, elsewhere } = answer
    owned.leave()
    for (let n = 2; n <= 20; n++) upstream.publish()
    using back = ask(elsewhere, { 'last-event-id': idOf(owned, 'event 1') })
    await has(followed, 'event 20')
    for (let n = 21; n <= 30; n++) upstream.publish()
    upstream.end()
    const all = Array.from({ length: 30 }, (_, n) => `event ${n + 1}`)
    for (const client of [followed, back]) await has(client, '[DONE]')
    expect(dataIn(followed)).to.deep.equal([...all, '[DONE]'])
    expect(dataIn(back)).to.deep.equal([...all.slice(1), '[DONE]'])
    expect(upstream.server.requests).to.have.length(1)
  })

  it('is broken off when Redis is away for longer than storeTimeout: 503 meanwhile, then what is stored, and no second POST', async () => {
    await using answer = await answering(quick)
    const { upstream, here, owned, followed } = answer
    redis.suspend()
    upstream.publish()
    for (const client of [owned, followed]) {
      await isOver(client)
      expect(client.over).to.equal('broken')
    }
    const refused = await answerOf(here, { accept: 'application/json' })
    expect(refused.status).to.equal(503)
    expect(refused.headers['retry-after']).to.equal('1')
    redis.wake()
    await eventually(
      () => upstream.open.size === 0,
      () => 'the upstream is closed',
    )
    // The hub answers 503 until it knows that Redis is back.
    let again = await answerOf(here)
    while (again.status === 503) again = await answerOf(here)
    // The append of the second event was in flight: Redis may have carried it out when it went on.
    expect(dataIn(again).join()).to.match(/^event 1(,event 2)?$/)
    expect(again.over).to.equal('broken')
    expect(upstream.server.requests).to.have.length(1)
  })
})
