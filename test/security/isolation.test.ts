import http, { type RequestListener } from 'node:http'
import { expect } from 'chai'
import { httpUpstream, relaySse } from '../../src/index.ts'
import { answerOf, type Client } from '../support/client.ts'
import { fast } from '../support/events.ts'
import { proxyTo } from '../support/gateway.ts'
import { serve, type TestServer } from '../support/server.ts'

/** Answers a request with its own cookie, `Last-Event-ID` and path, again and again, under ids that are everybody's. */
const personal: RequestListener = (request, response) => {
  const { cookie = '', 'last-event-id': last = '0' } = request.headers
  const from = Number(last) + 1
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const id of [from, from + 1]) response.write(`id: ${id}\ndata: ${request.url} ${cookie} ${last}\n\n`)
  response.end()
}

const relay = { reconnect: { ...fast, jitter: 1 }, isTerminal: ({ id = '' }) => id === '6' }

/** Nine clients at the same moment, two of which ask for the very same. */
const asks = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'h'].map((name) => ({
  path: `/${name}`,
  cookie: `name=${name}`,
}))

function expectOwn(clients: Client[], upstream: TestServer): void {
  asks.forEach(({ path, cookie }, n) => {
    const events = [0, 0, 2, 2, 4, 4].map((last, n) => `id: ${n + 1}\ndata: ${path} ${cookie} ${last}\n\n`)
    expect(clients[n]?.text, path).to.equal(events.join(''))
  })
  for (const { url, headers } of upstream.requests) expect(headers.cookie).to.equal(`name=${url?.slice(1)}`)
  expect(upstream.requests).to.have.length(3 * asks.length)
}

describe('clients of one gateway', () => {
  it('of a proxy get their own events, under ids that all of them share, over drops and kept-alive connections', async () => {
    await using upstream = await serve(personal)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 3 })
    await using gateway = await proxyTo(upstream.port, { relay, agent })
    const { origin } = new URL(gateway.url)
    const clients = await Promise.all(
      asks.map(({ path, cookie }) => answerOf(origin + path, { cookie, 'last-event-id': '0' })),
    )
    expectOwn(clients, upstream)
    expect(new Set(upstream.requests.map(({ socket }) => socket)).size).to.be.at.most(asks.length)
    agent.destroy()
  })

  it('of relays that share an agent and options get their own events too', async () => {
    await using upstream = await serve(personal)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 3 })
    await using server = await serve((req, res) => {
      const { cookie = '' } = req.headers
      const url = new URL(req.url ?? '/', upstream.url)
      relaySse(req, res, httpUpstream(url, { agent, headers: { cookie } }), relay).catch(() => res.destroy())
    })
    const { origin } = new URL(server.url)
    const clients = await Promise.all(
      asks.map(({ path, cookie }) => answerOf(origin + path, { cookie, 'last-event-id': '0' })),
    )
    expectOwn(clients, upstream)
    agent.destroy()
  })

  it('that share one factory resume each from its own place', async () => {
    await using upstream = await serve(personal)
    const factory = httpUpstream(upstream.url)
    await using server = await serve((req, res) => {
      relaySse(req, res, factory, relay).catch(() => res.destroy())
    })
    const clients = await Promise.all(
      ['0', '2', '4'].map((id) => answerOf(server.url, { 'last-event-id': id, cookie: 'a=secret' })),
    )
    expect(clients.map(({ text }) => text.match(/^id: \d/gm)?.length)).to.deep.equal([6, 4, 2])
    // A relay's factory knows of its client what the caller's code tells it.
    for (const { headers } of upstream.requests) expect(headers).not.to.have.property('cookie')
  })
})
