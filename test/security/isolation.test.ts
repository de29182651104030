import http, { type RequestListener } from 'node:http'
import { expect } from 'chai'
import { createSseHub, createSseProxy, httpUpstream, relaySse } from '../../src/index.ts'
import { answerOf, ask, type Client, get, has } from '../support/client.ts'
import { fast, wire } from '../support/events.ts'
import { proxyTo } from '../support/gateway.ts'
import { dataIn, eventSource, idOf } from '../support/hub.ts'
import { sharingProxyTo, sse } from '../support/proxy.ts'
import { serve, stays, stream, type TestServer } from '../support/server.ts'

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

/** Starts a stream whose first event tells whose stream it is, and stays open. */
const ofItsClient: RequestListener = ({ url, headers }, response) => {
  const { authorization = '', cookie = '', 'x-api-key': key = '', 'x-forwarded-host': host = '' } = headers
  stream(response, wire(1, [url, authorization, cookie, key, host].join(' ')))
}

describe('clients of a proxy that shares streams', () => {
  const first = {
    path: '/feed?token=a',
    headers: { authorization: 'Bearer a', cookie: 'a=1', host: 'a.test' },
  }
  for (const [what, other] of [
    ['authorization', { headers: { authorization: 'Bearer b' } }],
    ['cookie', { headers: { cookie: 'a=2' } }],
    ['query', { path: '/feed?token=b' }],
    ['path', { path: '/feed/?token=a' }],
    ['host', { headers: { host: 'b.test' } }],
    ['x-api-key', { headers: { 'x-api-key': 'b' } }],
    ['origin', { headers: { origin: 'http://b.test' } }],
    ['x-forwarded-user', { headers: { 'x-forwarded-user': 'b' } }],
    ['accept', { headers: { accept: 'text/event-stream;version=2' } }],
  ] as const) {
    it(`never share a stream when they differ in ${what}`, async () => {
      await using upstream = await serve(ofItsClient)
      await using proxy = await sharingProxyTo(upstream, { shared: { from: 'start' } })
      const requests = [
        first,
        { ...first, ...other, headers: { ...first.headers, ...('headers' in other && other.headers) } },
      ]
      for (const { path, headers } of requests) {
        using client = ask(proxy.url + path, { ...sse, ...headers })
        await has(client, '\n\n')
        expect(dataIn(client)[0]).to.include(path)
        for (const value of [headers.authorization, headers.cookie])
          expect(dataIn(client)[0]).to.include(value)
      }
      expect(upstream.requests).to.have.length(2)
    })
  }

  it('share a stream when they differ in nothing by which an upstream may tell who they are', async () => {
    await using upstream = await serve(ofItsClient)
    await using proxy = await sharingProxyTo(upstream, { shared: { from: 'start' } })
    const { authorization, cookie, host } = first.headers
    for (const [query, headers] of [
      ['', { authorization, cookie, host, 'user-agent': 'one', 'accept-language': 'en', 'x-key': '1' }],
      [
        '',
        {
          'X-Key': '1',
          host: 'A.test',
          cookie,
          authorization,
          'user-agent': 'two',
          'sec-fetch-mode': 'cors',
        },
      ],
      [
        '&lastEventId=',
        { authorization, cookie, host, 'x-key': '1', 'x-request-id': '7', 'cache-control': 'no-cache' },
      ],
    ] as const) {
      using client = ask(proxy.url + first.path + query, { ...sse, ...headers })
      await has(client, authorization)
    }
    expect(upstream.requests).to.have.length(1)
  })

  it('never share a stream of another proxy of the same hub: with another upstream, name or fixed field', async () => {
    await using upstream = await serve(ofItsClient)
    await using other = await serve(ofItsClient)
    const hub = createSseHub()
    const base = { upstream: `http://127.0.0.1:${upstream.port}`, hub, relay: { reconnect: fast } }
    const proxies = [
      base,
      { ...base, upstream: `http://127.0.0.1:${other.port}` },
      { ...base, relay: { ...base.relay, name: 'b' } },
      { ...base, headers: { authorization: 'Bearer b' } },
    ].map((options) => createSseProxy(options))
    let n = 0
    await using server = await serve((req, res) => proxies[n]?.(req, res))
    for (; n < proxies.length; n++) {
      using client = await get(server.url, { ...sse, authorization: 'Bearer a' })
      await has(client, n === 3 ? 'Bearer b' : 'Bearer a')
    }
    expect([upstream.requests.length, other.requests.length]).to.deep.equal([3, 1])
    await hub.close()
  })

  it("get a gap and their own events for the last event ID of another client's stream", async () => {
    const sends = new Map<string, (text: string) => void>()
    await using upstream = await serve(({ headers: { authorization = '' } }, response) => {
      stream(response, ...[1, 2, 3].map((id) => wire(id, `${id} of ${authorization}`)))
      sends.set(authorization, (text) => void response.write(text))
    })
    await using proxy = await sharingProxyTo(upstream, { relay: { statusEvents: true } })
    const [a, b] = ['a', 'b'].map((authorization) => ask(proxy.url, { ...eventSource, authorization }))
    if (!a || !b) throw new Error('no clients')
    await has(a, '3 of a')
    await has(b, '3 of b')
    for (const id of [1, 2, 3].map((n) => idOf(a, `${n} of a`))) {
      using stranger = ask(proxy.url, { ...eventSource, authorization: 'b', 'last-event-id': id })
      await has(stranger, '3 of b')
      expect(dataIn(stranger)).to.deep.equal(['{"status":"gap"}', '1 of b', '2 of b', '3 of b'])
    }
    sends.get('a')?.(wire(4, '4 of a'))
    await has(a, '4 of a')
    expect(b.text).not.to.include('of a')
    expect(upstream.requests).to.have.length(2)
    a.leave()
    b.leave()
  })

  it('get no cookie that the upstream sets for the client that opened the stream', async () => {
    await using upstream = await serve((request, response) => {
      response.setHeader('set-cookie', 'session=secret')
      stays(wire(1))(request, response)
    })
    await using proxy = await sharingProxyTo(upstream)
    for (const _ of [1, 2]) {
      const client = await get(proxy.url, sse)
      expect(client.headers).not.to.have.property('set-cookie')
    }
    expect(upstream.requests).to.have.length(1)
  })

  it('have different names without their query and credentials, of at most 512 bytes', async () => {
    await using upstream = await serve(ofItsClient)
    const lines: unknown[] = []
    const note = (fields: object, message: string) => void lines.push([message, fields])
    const names: string[] = []
    const hub = createSseHub()
    const { relay } = hub
    await using proxy = await sharingProxyTo(upstream, {
      hub: Object.assign(hub, {
        relay: (...args: Parameters<typeof relay>) => {
          names.push(args[2])
          return relay.apply(hub, args)
        },
      }),
      logger: { debug: note, info: note, warn: note, error: note },
    })
    for (const path of ['/feed', `/${'x'.repeat(3000)}`, `/${'x'.repeat(3001)}`]) {
      using client = ask(`${proxy.url}${path}?token=secret`, {
        ...sse,
        authorization: 'Bearer secret',
        cookie: 'secret',
      })
      await has(client, 'secret')
    }
    expect(names[0]).to.match(/^GET \/feed [\w-]{43}$/)
    expect(new Set(names).size).to.equal(3)
    for (const name of names) expect(Buffer.byteLength(name)).to.be.at.most(512)
    expect(JSON.stringify([names, lines])).not.to.include('secret')
  })
})
