import { expect } from 'chai'
import { createClient } from 'redis'
import { answerOf, ask } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { numbered } from '../support/feed.ts'
import { dataIn, idOf } from '../support/hub.ts'
import { type Publisher, publisher } from '../support/publisher.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { eventually, type Fleet, has, startFleet, wander } from './fleet.ts'

const feed = () => publisher((n) => wire(n))
const completion = () => publisher((n) => `data: event ${n}\n\n`)
const quick = { LEASE: '300', POLL: '100', STORE_TIMEOUT: '1500' }
/** An owner keeps its upstream, also when the machine has other work for a second. */
const steady = { ...quick, LEASE: '10000', LINGER: '10000' }

describe('a fleet', () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis[Symbol.asyncDispose]())
  const start = (upstream: Publisher, size = 2, env: NodeJS.ProcessEnv = quick): Promise<Fleet> =>
    startFleet(size, { REDIS: redis.url, UPSTREAM: upstream.server.url, ...env })
  let names = 0
  const newName = () => `s${names++}-${process.pid}`

  it('has one upstream for all clients of a feed, whichever machine serves them', async () => {
    await using upstream = await feed()
    await using fleet = await start(upstream, 3, steady)
    const name = newName()
    const clients = Array.from({ length: 9 }, () => wander(`${fleet.url}/feed/${name}`))
    for (const client of clients) {
      await client.placed()
    }
    for (let n = 1; n <= 20; n++) {
      upstream.publish()
      await clients[0]?.has(`event ${n}`)
    }
    for (const client of clients) {
      await client.has('event 20')
      expect(client.data).to.deep.equal(numbered(1, 20))
      client[Symbol.dispose]()
    }
    expect(upstream.server.requests).to.have.length(1)
  })

  it('serves a client that moves from machine to machine at every event', async () => {
    await using upstream = await feed()
    await using fleet = await start(upstream, 2, steady)
    using client = wander(`${fleet.url}/feed/${newName()}`, 1)
    await client.placed()
    for (let n = 1; n <= 30; n++) {
      upstream.publish()
      if (n % 3 === 0) await client.has(`event ${n}`)
    }
    expect(client.data).to.deep.equal(numbered(1, 30))
    expect(upstream.server.requests).to.have.length(1)
  })

  for (const [how, signal] of [
    ['is killed', 'SIGKILL'],
    ['shuts down', 'SIGTERM'],
  ] as const) {
    it(`goes on with a feed when its owner ${how}: no gap, and nothing twice`, async () => {
      await using upstream = await feed()
      // With a shorter lease, a busy machine takes the upstream over more than once.
      await using fleet = await start(upstream, 2, { ...steady, LEASE: '2000' })
      const name = newName()
      const clients = Array.from({ length: 4 }, () => wander(`${fleet.url}/feed/${name}`))
      for (const client of clients) {
        await client.placed()
      }
      for (let n = 1; n <= 5; n++) upstream.publish()
      for (const client of clients) await client.has('event 5')
      const owner = await fleet.owner(name)
      owner.program.child.kill(signal)
      for (let n = 6; n <= 10; n++) upstream.publish()
      for (const client of clients) await client.has('event 10')
      upstream.publish()
      for (const client of clients) {
        await client.has('event 11')
        expect(client.data).to.deep.equal(numbered(1, 11))
        client[Symbol.dispose]()
      }
      expect(upstream.server.requests).to.have.length(2)
      // The former owner may have stored some of the later events.
      expect(Number(upstream.server.requests[1]?.headers['last-event-id'])).to.be.within(5, 10)
    })
  }

  it('takes a feed over at the wake of an owner that shuts down, and at no poll or end of a lease', async () => {
    await using upstream = await feed()
    await using fleet = await start(upstream, 2, { LEASE: '600000', POLL: '600000' })
    const name = newName()
    const [first, second] = fleet.machines
    if (!first || !second) throw new Error('no machines')
    using owned = wander(`${first.url}/feed/${name}`)
    await owned.placed()
    using followed = wander(`${second.url}/feed/${name}`)
    await followed.placed()
    upstream.publish()
    await followed.has('event 1')
    first.program.child.kill('SIGTERM')
    await eventually(
      () => upstream.server.requests.length === 2,
      () => 'the take-over',
    )
    upstream.publish()
    await followed.has('event 2')
    expect(followed.data).to.deep.equal(numbered(1, 2))
    expect(upstream.server.requests[1]?.headers).to.include({ 'last-event-id': '1' })
  })

  it('fences an owner that was suspended past its lease, and both machines serve on', async () => {
    await using upstream = await feed()
    await using fleet = await start(upstream)
    const name = newName()
    const [first, second] = fleet.machines
    if (!first || !second) throw new Error('no machines')
    using early = wander(`${first.url}/feed/${name}`)
    await early.placed()
    using late = wander(`${second.url}/feed/${name}`)
    await late.placed()
    upstream.publish()
    await late.has('event 1')
    first.program.child.kill('SIGSTOP')
    await eventually(
      () => upstream.server.requests.length === 2,
      () => 'the take-over',
    )
    upstream.publish()
    await late.has('event 2')
    first.program.child.kill('SIGCONT')
    await eventually(
      () => upstream.open.size === 1,
      () => 'the former owner closes its upstream',
    )
    upstream.publish()
    await early.has('event 3')
    await late.has('event 3')
    expect(early.data).to.deep.equal(numbered(1, 3))
    expect(late.data).to.deep.equal(numbered(1, 3))
  })

  it('shows the clients of a completion that its owner was killed; what is stored can be had, and the POST is sent once', async () => {
    await using upstream = await completion()
    await using fleet = await start(upstream)
    const name = newName()
    const [first, second] = fleet.machines
    if (!first || !second) throw new Error('no machines')
    using owned = ask(`${first.url}/session/${name}`)
    await eventually(
      () => upstream.open.size === 1,
      () => 'the POST',
    )
    upstream.publish()
    await has(owned, 'event 1')
    using followed = ask(`${second.url}/session/${name}`)
    await has(followed, 'event 1')
    first.program.child.kill('SIGKILL')
    await eventually(
      () => followed.over !== undefined,
      () => 'the end of the other client',
    )
    expect(followed.over).to.equal('broken')
    const again = await answerOf(`${second.url}/session/${name}`)
    expect(dataIn(again)).to.deep.equal(['event 1'])
    expect(again.over).to.equal('broken')
    expect(upstream.server.requests).to.have.length(1)
  })

  it('finishes a completion when its owner shuts down', async () => {
    await using upstream = await completion()
    await using fleet = await start(upstream)
    const name = newName()
    const [first, second] = fleet.machines
    if (!first || !second) throw new Error('no machines')
    using owned = ask(`${first.url}/session/${name}`)
    await eventually(
      () => upstream.open.size === 1,
      () => 'the POST',
    )
    upstream.publish()
    await has(owned, 'event 1')
    using followed = ask(`${second.url}/session/${name}`)
    await has(followed, 'event 1')
    first.program.child.kill('SIGTERM')
    upstream.publish()
    upstream.end()
    for (const client of [owned, followed]) {
      await has(client, '[DONE]')
      expect(dataIn(client)).to.deep.equal(['event 1', 'event 2', '[DONE]'])
    }
    const done = idOf(followed, '\\[DONE\\]')
    const after = await answerOf(`${second.url}/session/${name}`, { 'last-event-id': done })
    expect(after.status).to.equal(204)
    expect(upstream.server.requests).to.have.length(1)
  })

  it('cancels a stream from a machine that does not own it', async () => {
    await using upstream = await completion()
    await using fleet = await start(upstream)
    const name = newName()
    const [first, second] = fleet.machines
    if (!first || !second) throw new Error('no machines')
    using owned = ask(`${first.url}/session/${name}`)
    await eventually(
      () => upstream.open.size === 1,
      () => 'the POST',
    )
    upstream.publish()
    await has(owned, 'event 1')
    using followed = ask(`${second.url}/session/${name}`)
    await has(followed, 'event 1')
    expect(await (await fetch(`${second.url}/cancel/${name}`)).json()).to.equal(true)
    expect(await owned.ended).to.equal('end')
    expect(await followed.ended).to.equal('end')
    await eventually(
      () => upstream.open.size === 0,
      () => 'the upstream is closed',
    )
    const last = { 'last-event-id': idOf(owned, 'event 1') }
    expect((await answerOf(`${first.url}/session/${name}`, last)).status).to.equal(204)
  })

  it('sends heartbeats while Redis is suspended, and then everything', async () => {
    await using upstream = await feed()
    await using fleet = await start(upstream, 2, { ...quick, STORE_TIMEOUT: '30000' })
    const name = newName()
    using client = ask(`${fleet.machines[1]?.url}/feed/${name}`, { accept: 'text/event-stream' })
    await eventually(
      () => upstream.open.size === 1,
      () => 'the upstream',
    )
    upstream.publish()
    await has(client, 'event 1')
    redis.suspend()
    upstream.publish()
    const before = client.text.length
    await eventually(
      () => client.text.slice(before).includes(':\n:\n'),
      () => 'heartbeats',
    )
    expect(dataIn(client)).to.not.include('event 2')
    redis.wake()
    await has(client, 'event 2')
    upstream.publish()
    await has(client, 'event 3')
    expect(dataIn(client).filter((data) => data.startsWith('event'))).to.deep.equal(numbered(1, 3))
  })

  it('breaks connections when Redis is away for longer than storeTimeout, answers 503 meanwhile, and goes on after', async () => {
    await using upstream = await feed()
    await using fleet = await start(upstream)
    const name = newName()
    const url = `${fleet.machines[0]?.url}/feed/${name}`
    using client = ask(url, { accept: 'text/event-stream' })
    await eventually(
      () => upstream.open.size === 1,
      () => 'the upstream',
    )
    upstream.publish()
    await has(client, 'event 1')
    redis.suspend()
    upstream.publish()
    await eventually(
      () => client.over !== undefined,
      () => 'the end of the client',
    )
    expect(client.over).to.equal('broken')
    const refused = await answerOf(url, { accept: 'application/json' })
    expect(refused.status).to.equal(503)
    expect(refused.headers['retry-after']).to.equal('1')
    redis.wake()
    const returned = wander(url)
    upstream.publish()
    await returned.placed()
    upstream.publish()
    await returned.has('event 4')
    returned[Symbol.dispose]()
  })

  it('leaves nothing in Redis without a time to live', async () => {
    await using upstream = await feed()
    await using fleet = await start(upstream)
    const name = newName()
    using client = wander(`${fleet.url}/feed/${name}`)
    await client.placed()
    upstream.publish()
    await client.has('event 1')
    const admin = createClient({ url: redis.url })
    await admin.connect()
    const keys = await admin.keys('rs:*')
    expect(keys).to.include(`rs:{${name}}`)
    for (const key of keys) expect(await admin.pTTL(key), key).to.be.above(0)
    client[Symbol.dispose]()
    for (const { program } of fleet.machines) {
      program.child.kill('SIGTERM')
      await program.ended
    }
    expect(await admin.exists(`rs:{${name}}:lease`)).to.equal(0)
    const clients = await admin.clientList()
    expect(clients).to.have.length(1)
    admin.destroy()
  })
})
