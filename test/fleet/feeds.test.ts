import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { expect } from 'chai'
import { answerOf, ask } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, eventSource, idOf } from '../support/hub.ts'
import { publisher } from '../support/publisher.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { serve } from '../support/server.ts'
import { until } from '../support/until.ts'
import { eventually, type Fleet, has, startFleet, wander } from './fleet.ts'

const quick = { LEASE: '300', POLL: '100' }
/** An owner keeps its upstream, also when the machine has other work for a second. */
const steady = { LEASE: '10000', POLL: '100', LINGER: '10000' }

/** Asks each machine for one stream, as an EventSource and as a program. Resolves when all clients have joined the stream. */
async function askEverywhere({ machines }: Fleet, kind: string, name: string) {
  const askEach = (headers: OutgoingHttpHeaders) =>
    machines.map(({ url }) => ask(`${url}/${kind}/${name}`, headers))
  const sources = askEach(eventSource)
  const programs = askEach({ accept: 'application/json' })
  for (const { url } of machines) {
    let status = ''
    while (!/"clients":2/.test(status)) status = await (await fetch(`${url}/status/${name}`)).text()
  }
  return { sources, programs }
}

describe('a client of a fleet', () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis[Symbol.asyncDispose]())
  let names = 0
  const newName = () => `f${names++}-${process.pid}`

  it('misses no event of a quiet feed whose owner is killed before the first one, and again before the second', async () => {
    await using upstream = await publisher(wire)
    await using fleet = await startFleet(3, { REDIS: redis.url, UPSTREAM: upstream.server.url, ...quick })
    const name = newName()
    using client = wander(`${fleet.url}/feed/${name}`)
    await client.placed()
    for (const n of [1, 2]) {
      const owner = await fleet.owner(name)
      const requests = upstream.server.requests.length
      owner.program.child.kill('SIGKILL')
      // Published while the stream has no owner.
      await owner.program.ended
      upstream.publish()
      await eventually(
        () => upstream.server.requests.length > requests,
        () => `take-over ${n}`,
      )
      await client.has(`event ${n}`)
    }
    expect(client.data).to.deep.equal(['event 1', 'event 2'])
  })

  it('gets the status of a drop at the machine that has the upstream, and misses no event at either machine', async () => {
    await using upstream = await publisher(wire)
    await using fleet = await startFleet(2, { REDIS: redis.url, UPSTREAM: upstream.server.url, ...steady })
    const name = newName()
    const [first, second] = fleet.machines
    if (!first || !second) throw new Error('no machines')
    using here = ask(`${first.url}/feed/${name}`, eventSource)
    await has(here, '\n\n')
    using elsewhere = ask(`${second.url}/feed/${name}`, eventSource)
    await has(elsewhere, '\n\n')
    upstream.publish()
    for (const client of [here, elsewhere]) await has(client, 'event 1')
    for (const response of upstream.open) response.destroy()
    upstream.publish()
    for (const client of [here, elsewhere]) {
      await has(client, 'event 2')
      expect(dataIn(client).filter((data) => data.startsWith('event'))).to.deep.equal(['event 1', 'event 2'])
    }
    expect(here.text).to.match(/^event: relay-status\ndata: .*reconnecting/m)
    expect(upstream.server.requests[1]?.headers).to.include({ 'last-event-id': '1' })
  })

  for (const [kind, status, fields, body, isPassedOn] of [
    ['feed', 401, { 'www-authenticate': 'Bearer' }, 'secret', false],
    ['session', 401, { 'www-authenticate': 'Bearer' }, 'secret', false],
    ['session', 400, { 'content-type': 'application/json' }, '{"error":"no model 5"}', true],
  ] as const) {
    it(`gets the refusal of the upstream wherever it waits: ${status} for a ${kind}`, async () => {
      const waiting: ServerResponse[] = []
      await using upstream = await serve((_, response) => void waiting.push(response))
      await using fleet = await startFleet(2, { REDIS: redis.url, UPSTREAM: upstream.url, ...steady })
      const path = `${kind}/${newName()}`
      const clients = fleet.machines.map(({ url }) => ask(`${url}/${path}`, eventSource))
      for (const { url } of fleet.machines) {
        let status = ''
        while (!/"clients":1/.test(status))
          status = await (await fetch(`${url}/status/${path.slice(kind.length + 1)}`)).text()
      }
      await until(
        () => waiting.length > 0,
        () => 'the request of the upstream',
      )
      waiting[0]?.writeHead(status, fields).end(body)
      for (const client of clients) {
        await client.ended
        expect(client.status).to.equal(status)
        for (const [field, value] of Object.entries(fields)) expect(client.headers[field]).to.equal(value)
        if (isPassedOn) expect(client.text).to.equal(body)
        else expect(client.text).to.not.include(body)
      }
      expect(upstream.requests).to.have.length(1)
    })
  }

  for (const kind of ['feed', 'session']) {
    it(`is answered wherever it waits when the upstream is too busy for longer than it is asked: a ${kind}`, async () => {
      const waiting: ServerResponse[] = []
      let isBusy = false
      const refuse = (response: ServerResponse | undefined) =>
        response?.writeHead(429, { 'retry-after-ms': '1' }).end()
      await using upstream = await serve((_, response) => {
        if (isBusy) refuse(response)
        else waiting.push(response)
      })
      const env = { REDIS: redis.url, UPSTREAM: upstream.url, MAX_RETRIES: '2', ...steady }
      await using fleet = await startFleet(2, env)
      const { sources, programs } = await askEverywhere(fleet, kind, newName())
      await until(
        () => waiting.length > 0,
        () => 'the request of the upstream',
      )
      isBusy = true
      refuse(waiting[0])
      for (const client of programs) {
        await client.ended
        expect(client.status).to.equal(429)
      }
      // An EventSource would never come back after a status.
      for (const client of sources) {
        expect(await client.ended).to.equal('end')
        expect(client.status).to.equal(200)
        expect(client.text).to.match(/^retry: \d+$/m)
      }
      expect(upstream.requests).to.have.length(3)
    })
  }

  for (const kind of ['feed', 'session']) {
    it(`is answered wherever it waits when the upstream asks for a long pause: a ${kind}`, async () => {
      const waiting: ServerResponse[] = []
      await using upstream = await serve((_, response) => void waiting.push(response))
      const env = { REDIS: redis.url, UPSTREAM: upstream.url, ...steady, LEASE: '3000' }
      await using fleet = await startFleet(2, env)
      const { sources, programs } = await askEverywhere(fleet, kind, newName())
      await until(
        () => waiting.length > 0,
        () => 'the request of the upstream',
      )
      waiting[0]?.writeHead(429, { 'retry-after': '60' }).end()
      for (const client of programs) {
        await client.ended
        expect(client.status).to.equal(429)
        expect(client.headers['retry-after']).to.equal('60')
      }
      for (const client of sources) {
        expect(await client.ended).to.equal('end')
        expect(client.status).to.equal(200)
        expect(Number(/^retry: (\d+)$/m.exec(client.text)?.[1])).to.be.at.least(59_000)
      }
      expect(upstream.requests).to.have.length(1)
    })
  }

  it('gets what is stored and the end when another machine cancels its feed, and 204 when it returns', async () => {
    await using upstream = await publisher(wire)
    await using fleet = await startFleet(2, { REDIS: redis.url, UPSTREAM: upstream.server.url, ...steady })
    const name = newName()
    const [first, second] = fleet.machines
    if (!first || !second) throw new Error('no machines')
    using owned = ask(`${first.url}/feed/${name}`, eventSource)
    await has(owned, '\n\n')
    using followed = ask(`${second.url}/feed/${name}`, eventSource)
    await has(followed, '\n\n')
    upstream.publish()
    for (const client of [owned, followed]) await has(client, 'event 1')
    expect(await (await fetch(`${second.url}/cancel/${name}`)).json()).to.equal(true)
    for (const client of [owned, followed]) {
      expect(await client.ended).to.equal('end')
      expect(dataIn(client)).to.deep.equal(['event 1'])
    }
    await eventually(
      () => upstream.open.size === 0,
      () => 'the upstream is closed',
    )
    const last = { ...eventSource, 'last-event-id': idOf(owned, 'event 1') }
    for (const { url } of [first, second]) {
      expect((await answerOf(`${url}/feed/${name}`, last)).status).to.equal(204)
    }
    expect(upstream.server.requests).to.have.length(1)
  })
})
