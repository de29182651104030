import { expect } from 'chai'
import type { Fault, Status } from '../../src/demo/messages.ts'
import { type Client, get } from '../support/client.ts'
import { type Demo, startDemo } from '../support/demo.ts'
import { eventSource } from '../support/hub.ts'
import { until } from '../support/until.ts'

/** The numbers of the events that a client has received. */
function serialsIn({ text }: Client): number[] {
  return Array.from(text.matchAll(/^data: \{"serial":(\d+),"at":\d+\}$/gm), ([, serial]) => Number(serial))
}

/** The words of an answer that a client has received. */
function wordsIn({ text }: Client): string[] {
  return Array.from(text.matchAll(/^data: "(.*)"$/gm), ([, word = '']) => word)
}

describe('the demonstration', function () {
  this.timeout(300_000)
  let demo: Demo

  before(async () => {
    demo = await startDemo()
  })

  after(() => demo[Symbol.asyncDispose]())

  const shows = (condition: (status: Status) => boolean, what: string) =>
    until(
      () => condition(demo.status),
      () => `${what}: ${JSON.stringify(demo.status)}`,
    )

  const read = (url: string) => get(url, { ...eventSource, origin: demo.origin })

  const receives = (client: Client, more: number) => {
    const goal = serialsIn(client).length + more
    return until(
      () => serialsIn(client).length >= goal,
      () => `${more} more events: ${client.text.slice(-200)}`,
    )
  }

  const lastOf = (client: Client) => serialsIn(client).at(-1) ?? 0

  /** Breaks the upstream, and waits until the client has got what is published after the upstream's return. */
  async function breaks(fault: Fault, client: Client): Promise<void> {
    const { reconnects } = demo.status
    expect((await demo.post(`/upstream/${fault}`)).status).to.equal(200)
    await shows((now) => now.upstream === 'up' && now.isConnected && now.reconnects > reconnects, fault)
    await receives(client, 2)
  }

  function expectWhole(client: Client): void {
    const serials = serialsIn(client)
    const first = serials[0] ?? 0
    expect(serials).to.deep.equal(serials.map((_, n) => first + n))
    expect(client.over).to.equal(undefined)
  }

  for (const [fault, what] of [
    ['kill', 'is silent for ever'],
    ['cut', 'is silent for ever'],
    ['silence', 'is silent for ever'],
    ['restart', 'is silent for ever'],
    ['unavailable', 'has ended'],
    ['end', 'has ended'],
  ] as const) {
    it(`brings every event once to the client of the gateway, while that of the pipe ${what}: ${fault}`, async () => {
      const { gateway, pipe } = demo.status.addresses
      await shows(({ upstream }) => upstream === 'up', 'the upstream is up')
      using whole = await read(gateway)
      using broken = await read(pipe)
      await receives(whole, 2)
      await receives(broken, 2)
      await breaks(fault, whole)
      expectWhole(whole)
      const last = lastOf(broken)
      await receives(whole, 2)
      expect(lastOf(broken))
        .to.equal(last)
        .and.to.be.below(lastOf(whole) - 2)
      expect(broken.over).to.equal(what === 'has ended' ? 'end' : undefined)
    })
  }

  it('refuses to break an upstream that is not back', async () => {
    expect((await demo.post('/upstream/kill')).status).to.equal(200)
    expect((await demo.post('/upstream/end')).status).to.equal(409)
    await shows(({ upstream }) => upstream === 'up', 'the upstream is up')
  })

  it('sends three events again to whoever resumes, of which the client of the gateway gets none', async () => {
    using client = await read(demo.status.addresses.gateway)
    await receives(client, 4)
    const { repeats } = demo.status
    await breaks('end', client)
    expect(demo.status.repeats).to.be.above(repeats)
    expectWhole(client)
  })

  it('has one upstream connection for two clients of the gateway, and two for those of the pipe', async () => {
    const { gateway, pipe } = demo.status.addresses
    const clients = [await read(gateway), await read(gateway), await read(pipe), await read(pipe)]
    await shows(({ pages }) => pages.gateway === 2 && pages.pipe === 2, 'four clients')
    await shows(({ connections }) => connections.gateway === 1 && connections.pipe === 2, 'three connections')
    for (const client of clients) client.leave()
    await shows(({ pages }) => pages.gateway === 0 && pages.pipe === 0, 'no client')
  })

  async function asks(): Promise<{ readonly name: string; readonly url: string }> {
    const response = await demo.post('/sessions')
    expect(response.status).to.equal(200)
    const name = await response.text()
    return { name, url: demo.status.addresses.sessions + name }
  }

  const sessionOf = (name: string) => demo.status.sessions.find((session) => session.name === name)

  async function reads(url: string, count: number): Promise<Client> {
    const client = await read(url)
    await until(
      () => wordsIn(client).length >= count,
      () => `${count} words: ${client.text}`,
    )
    return client
  }

  it('goes on with an answer without a reader, and brings the rest to a reader that returns', async () => {
    const { name, url } = await asks()
    const tab = await reads(url, 3)
    tab.leave()
    const [, id = ''] = /.*^id: (\S+)$/ms.exec(tab.text) ?? []
    const seen = wordsIn(tab)
    await shows(() => (sessionOf(name)?.words ?? 0) > seen.length + 5, 'the answer goes on')
    using rest = await reads(`${url}?lastEventId=${id}`, 10)
    const count = seen.length + 10
    using other = await reads(url, count)
    expect([...seen, ...wordsIn(rest)].slice(0, count)).to.deep.equal(wordsIn(other).slice(0, count))
    expect(sessionOf(name)).to.include({ requests: 1 })
  })

  it('says that an answer has failed when its owner is killed, keeps the words, and never asks again', async () => {
    using feed = await read(demo.status.addresses.gateway)
    const { name, url } = await asks()
    using tab = await reads(url, 3)
    await shows(() => sessionOf(name)?.owner !== undefined, 'the answer has an owner')
    const owner = demo.status.gateways.find((gateway) => gateway.name === sessionOf(name)?.owner)
    const killed = await demo.post('/sessions/owner/kill')
    expect(await killed.text()).to.equal(owner?.name)
    expect(await tab.ended).to.equal('end')
    expect(tab.text).to.match(/^event: failed\ndata: the stream cannot be resumed/m)
    using again = await reads(url, wordsIn(tab).length)
    await again.ended
    expect(wordsIn(again)).to.deep.equal(wordsIn(tab))
    expect(again.text).to.include('event: failed\n')
    // The shared stream is taken over, and another process replaces the one that was killed.
    const isReplaced = ({ gateways }: Status) =>
      gateways.every(({ pid }) => pid !== undefined && pid !== owner?.pid) &&
      gateways.some((one) => one.isOwner)
    await shows(isReplaced, 'two processes')
    await receives(feed, 5)
    expectWhole(feed)
    expect(sessionOf(name)).to.include({ requests: 1 }).and.not.to.have.property('owner')
    expect((await demo.post('/sessions/owner/kill')).status).to.equal(409)
  })

  it('serves its clients on when the process that the page reads from is replaced', async () => {
    const reading = new URL(demo.status.addresses.gateway).port
    const { pid } = demo.status.gateways[1] ?? {}
    using client = await read(demo.status.addresses.gateway)
    await receives(client, 2)
    process.kill(pid ?? 0, 'SIGKILL')
    expect(await client.ended).to.equal('broken')
    await shows(
      ({ gateways }) => gateways[1]?.pid !== undefined && gateways[1].pid !== pid,
      'another process',
    )
    expect(new URL(demo.status.addresses.gateway).port).to.equal(reading)
    const [, id] = /.*^id: (\S+)$/ms.exec(client.text) ?? []
    using back = await get(demo.status.addresses.gateway, { ...eventSource, 'last-event-id': id })
    await receives(back, 3)
    expect(serialsIn(back)[0]).to.equal(lastOf(client) + 1)
    expectWhole(back)
  })
})
