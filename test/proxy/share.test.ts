import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { expect } from 'chai'
import { createSseHub, createSseProxy, type SseEvent } from '../../src/index.ts'
import { certificate } from '../support/certificate.ts'
import { answerOf, ask, type Client, get, has } from '../support/client.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { dataIn, idOf } from '../support/hub.ts'
import { ask as askWith, type SharingProxy, sharingProxyTo, sse } from '../support/proxy.ts'
import {
  answers,
  ends,
  isLeft,
  resets,
  serve,
  serveInTurn,
  stays,
  stream,
  type TestServer,
} from '../support/server.ts'
import { until } from '../support/until.ts'

/** Sends bytes over a connection of their own. */
function connect({ server: { port } }: SharingProxy, bytes: string) {
  const socket = net.connect(port, '127.0.0.1')
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += chunk
  })
  socket.write(bytes)
  return {
    socket,
    arrived: (part: string) =>
      until(
        () => text.includes(part),
        () => text,
      ),
    error: new Promise<Error>((resolve) => socket.once('error', resolve)),
  }
}

const request = (path: string) => `GET ${path} HTTP/1.1\r\nhost: us\r\naccept: text/event-stream\r\n\r\n`

const lastIdsAt = ({ requests }: TestServer) => requests.map(({ headers }) => headers['last-event-id'])

describe('a shared stream of a proxy', () => {
  it('has one upstream connection, and gives each client each event and the fields of the upstream', async () => {
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      response.writeHead(200, {
        'content-type': 'text/event-stream;charset=utf-8',
        'cache-control': 'no-store',
        'access-control-allow-origin': '*',
        'set-cookie': 'session=of-the-first',
        connection: 'x-hop',
        'x-hop': '1',
        link: ['</a>; rel=x', '</b>; rel=y'],
      })
      response.flushHeaders()
      send = (text) => void response.write(text)
    })
    await using proxy = await sharingProxyTo(upstream)
    const clients: Client[] = []
    for (let n = 0; n < 20; n++) clients.push(await get(`${proxy.url}/feed`, sse))
    for (let n = 1; n <= 3; n++) send(wire(n))
    for (const client of clients) {
      await has(client, 'event 3')
      expect(dataIn(client)).to.deep.equal(['event 1', 'event 2', 'event 3'])
      expect(client.headers).to.include({
        'content-type': 'text/event-stream;charset=utf-8',
        'cache-control': 'no-store, no-transform',
        'access-control-allow-origin': '*',
        link: '</a>; rel=x, </b>; rel=y',
      })
      expect(client.headers).not.to.have.any.keys('set-cookie', 'x-hop')
      client.leave()
    }
    expect(upstream.requests).to.have.length(1)
  })

  it('is requested with the fields of the client that opened it, on each attempt', async () => {
    await using upstream = await serveInTurn(resets(wire(1)), stays(wire(2)))
    await using proxy = await sharingProxyTo(upstream)
    using client = ask(`${proxy.url}/feed?a=b&lastEventId=0`, {
      ...sse,
      authorization: 'Bearer x',
      'accept-encoding': 'gzip',
      'if-none-match': '"1"',
      range: 'bytes=0-',
    })
    await has(client, 'event 2')
    expect(lastIdsAt(upstream)).to.deep.equal(['0', '1'])
    for (const { url, headers } of upstream.requests) {
      expect(url).to.equal('/feed?a=b')
      expect(headers).to.include({
        ...sse,
        authorization: 'Bearer x',
        via: '1.1 resilient-sse',
        'x-forwarded-for': '127.0.0.1',
      })
      expect(headers).not.to.have.any.keys('accept-encoding', 'if-none-match', 'range')
    }
  })

  it("resumes from the upstream's own ids, whatever ids its clients return with", async () => {
    await using upstream = await serveInTurn(
      (request, response) => {
        stream(response, wire(1), wire(2))
        upstream.server.once('drop-it', () => request.socket.resetAndDestroy())
      },
      stays(wire(2), wire(3)),
    )
    await using proxy = await sharingProxyTo(upstream)
    const first = ask(proxy.url, sse)
    await has(first, 'event 2')
    first.leave()
    using byField = ask(proxy.url, { ...sse, 'last-event-id': idOf(first, 'event 1') })
    using byQuery = ask(`${proxy.url}?lastEventId=${encodeURIComponent(idOf(first, 'event 1'))}`, sse)
    await has(byField, 'event 2')
    await has(byQuery, 'event 2')
    upstream.server.emit('drop-it')
    for (const client of [byField, byQuery]) {
      await has(client, 'event 3')
      expect(dataIn(client)).to.deep.equal(['event 2', 'event 3'])
    }
    expect(lastIdsAt(upstream)).to.deep.equal([undefined, '2'])
  })

  it('goes on when the client that opened it leaves, and closes its upstream when no client is left', async () => {
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      stream(response, wire(1))
      send = (text) => void response.write(text)
    })
    await using proxy = await sharingProxyTo(upstream, { shared: { linger: 20 } })
    const opener = ask(proxy.url, sse)
    await has(opener, 'event 1')
    const other = await get(proxy.url, sse)
    opener.leave()
    await until(
      () => proxy.server.sockets.size === 1,
      () => 'the opener leaves',
    )
    send(wire(2))
    await has(other, 'event 2')
    expect(upstream.requests).to.have.length(1)
    other.leave()
    await isLeft(upstream)
  })

  it('goes on when the client that opened it leaves before the upstream has answered', async () => {
    let answer = () => {}
    await using upstream = await serve((_, response) => {
      answer = () => void stream(response, wire(1))
    })
    await using proxy = await sharingProxyTo(upstream)
    const opener = ask(proxy.url, sse)
    await until(
      () => upstream.requests.length === 1,
      () => 'the request',
    )
    using other = ask(proxy.url, sse)
    await until(
      () => proxy.server.requests.length === 2,
      () => 'the other client',
    )
    opener.leave()
    await until(
      () => proxy.server.sockets.size === 1,
      () => 'the opener leaves',
    )
    answer()
    await has(other, 'event 1')
    expect(upstream.requests).to.have.length(1)
  })

  it("has the upstream's fields also for a client that comes while the upstream is away", async () => {
    await using upstream = await serveInTurn((request, response) => {
      response.setHeader('access-control-allow-origin', '*')
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(wire(1), () => setImmediate(() => request.socket.resetAndDestroy()))
    }, answers(503))
    const relay = { headTimeout: 20, reconnect: { ...fast, maxRetries: Number.POSITIVE_INFINITY } }
    await using proxy = await sharingProxyTo(upstream, { relay })
    using first = ask(proxy.url, sse)
    await has(first, 'event 1')
    await until(
      () => upstream.requests.length > 1,
      () => 'a retry',
    )
    using late = await get(proxy.url, sse)
    expect(late.headers).to.include({ 'access-control-allow-origin': '*' })
    expect(late.text).not.to.include('event 1')
  })

  it('takes the options of shared streams, and of relays', async () => {
    await using upstream = await serve(stays(wire(1), wire(2)))
    await using proxy = await sharingProxyTo(upstream, {
      shared: { from: 'start', retention: { events: 100 } },
      relay: { retry: 77, comments: false, windowBytes: 0, onClientGone: 'drain' },
    })
    using first = ask(proxy.url, sse)
    await has(first, 'event 2')
    using late = ask(proxy.url, sse)
    await has(late, 'event 2')
    expect(dataIn(late)).to.deep.equal(['event 1', 'event 2'])
    expect(late.text).to.match(/^retry: 77\n/)
  })

  for (const [status, fields, asked, answered] of [
    [404, {}, sse, 404],
    [401, { 'www-authenticate': 'Bearer' }, sse, 401],
    [200, { 'content-type': 'text/html' }, sse, 502],
  ] as const) {
    it(`is refused as by relaySse when the upstream answers ${status} ${Object.values(fields).join()}`, async () => {
      await using upstream = await serve(answers(status, fields))
      await using proxy = await sharingProxyTo(upstream)
      const client = await answerOf(proxy.url, asked)
      expect(client.status).to.equal(answered)
      if (status === 401) expect(client.headers).to.include({ 'www-authenticate': 'Bearer' })
      await until(
        () => proxy.errors.length === 1,
        () => 'the error is reported',
      )
    })
  }
})

describe('a proxy with a hub', () => {
  for (const [what, method, headers, body] of [
    ['a POST', 'POST', sse, undefined],
    ['a HEAD', 'HEAD', sse, undefined],
    ['a GET with a body', 'GET', { ...sse, 'content-length': '4' }, 'body'],
    ['a GET that accepts other types', 'GET', { accept: 'application/json' }, undefined],
    ['a GET that accepts any type', 'GET', { accept: '*/*' }, undefined],
    ['a GET that the option share names no stream for', 'GET', { ...sse, 'x-alone': '1' }, undefined],
  ] as const) {
    it(`does not share the answer to ${what}`, async () => {
      await using upstream = await serve((request, response) => {
        request.resume().on('end', () => ends(wire(1, 'end'))(request, response))
      })
      const alone = 'x-alone' in headers
      await using proxy = await sharingProxyTo(upstream, {
        relay: { isTerminal: lastIs('end') },
        ...(alone && { share: ({ headers }) => (headers['x-alone'] ? undefined : 'all') }),
      })
      for (const n of [1, 2]) {
        const client = await askWith(proxy.url, { method, headers }, body)
        expect(await client.over).to.equal('end')
        expect(client.text).to.equal(method === 'HEAD' ? '' : wire(1, 'end'))
        expect(upstream.requests).to.have.length(n)
      }
    })
  }

  it('shares by the names that the option share returns, for every GET without a body', async () => {
    await using upstream = await serve(stays(wire(1)))
    const long = 'x'.repeat(1000)
    await using proxy = await sharingProxyTo(upstream, {
      share: ({ url = '' }) => (url.startsWith('/a') ? 'a' : long),
      shared: { from: 'start' },
    })
    const { origin } = new URL(proxy.url)
    const clients = ['/a/1?x=1', '/a/2', '/b', '/b/2'].map((path, n) =>
      ask(origin + path, { accept: n === 0 ? 'application/json' : '*/*', cookie: `n=${n}` }),
    )
    for (const client of clients) {
      await has(client, 'event 1')
      client.leave()
    }
    expect(upstream.requests.map(({ headers }) => headers.accept)).to.deep.equal([
      'text/event-stream',
      'text/event-stream',
    ])
    expect(await proxy.hub.status('a')).to.include({ state: 'running' })
  })

  for (const [what, share, message] of [
    [
      'throws',
      () => {
        throw new Error('no name')
      },
      'no name',
    ],
    ['returns no text', () => 5, 'share must return'],
    ['returns an empty text', () => '', 'share must return'],
  ] as const) {
    it(`answers 500 and reports the error when share ${what}`, async () => {
      await using upstream = await serve(stays(wire(1)))
      const errors: Error[] = []
      const hub = createSseHub()
      const options = { upstream: `http://127.0.0.1:${upstream.port}`, hub, share }
      const onError = (error: Error) => errors.push(error)
      await using server = await serve(Reflect.apply(createSseProxy, undefined, [{ ...options, onError }]))
      expect((await answerOf(server.url, sse)).status).to.equal(500)
      expect(errors.map((error) => error.message)).to.have.length(1)
      expect(errors[0]?.message).to.include(message)
      expect(upstream.requests).to.have.length(0)
    })
  }

  it('breaks the response and reports the error when a function of the caller throws after the head', async () => {
    await using upstream = await serve(stays(wire(1), wire(2)))
    const transform = (event: SseEvent) => {
      if (event.data === 'event 2') throw new Error('no transform')
      return event
    }
    await using proxy = await sharingProxyTo(upstream, { relay: { transform } })
    const client = await answerOf(proxy.url, sse)
    expect(client).to.include({ status: 200, over: 'broken' })
    await until(
      () => proxy.errors.length === 1,
      () => 'the error is reported',
    )
    expect(proxy.errors[0]?.message).to.equal('no transform')
  })

  it('tells clients of a closed hub to come back', async () => {
    await using upstream = await serve(stays(wire(1)))
    await using proxy = await sharingProxyTo(upstream)
    await proxy.hub.close()
    const reconnecting = await answerOf(proxy.url, sse)
    expect(reconnecting).to.include({ status: 200, over: 'end' })
    expect(reconnecting.text).to.match(/^retry: \d+\n$/)
    expect(upstream.requests).to.have.length(0)
  })

  it('asks the upstream for no client that waits behind another response of its connection', async () => {
    await using upstream = await serve(stays(wire(1)))
    await using proxy = await sharingProxyTo(upstream)
    const { socket, arrived } = connect(proxy, request('/one') + request('/two'))
    await arrived('event 1')
    await until(
      () => proxy.server.requests.length === 2,
      () => 'the second request',
    )
    expect(upstream.requests.map(({ url }) => url)).to.deep.equal(['/one'])
    socket.destroy()
  })

  it('shares with clients of HTTP/1.0, to whom a failure is a reset', async () => {
    await using upstream = await serveInTurn(stays(wire(1)), answers(404))
    await using proxy = await sharingProxyTo(upstream, { shared: { from: 'start' } })
    using modern = ask(`${proxy.url}/feed`, { ...sse, host: 'us' })
    await has(modern, 'event 1')
    const old = connect(proxy, request('/feed').replace('HTTP/1.1', 'HTTP/1.0'))
    await old.arrived('event 1')
    expect(upstream.requests).to.have.length(1)
    for (const { socket } of upstream.requests) socket.resetAndDestroy()
    expect(await old.error).to.include({ code: 'ECONNRESET' })
    expect(await modern.ended).to.equal('broken')
  })

  it('shares with clients of HTTP/2', async () => {
    await using upstream = await serve(stays(wire(1)))
    const hub = createSseHub()
    const proxy = createSseProxy({
      upstream: `http://127.0.0.1:${upstream.port}`,
      hub,
      shared: { from: 'start' },
      relay: { reconnect: fast },
    })
    const server = http2.createSecureServer({ ...certificate, allowHTTP1: true }, proxy)
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    const session = http2.connect(`https://localhost:${address.port}`, { ca: certificate.cert })
    const texts = await Promise.all(
      [1, 2, 3].map(async (n) => {
        const request = session.request({
          ':path': '/feed',
          ...sse,
          cookie: ['a=1', 'b=2'],
          'user-agent': `${n}`,
        })
        request.setEncoding('utf8').on('error', () => {})
        const [text] = await once(request, 'data')
        return text
      }),
    )
    for (const text of texts) expect(text).to.match(/^id: \d+-1\/1\ndata: event 1\n\n$/)
    expect(upstream.requests).to.have.length(1)
    expect(upstream.requests[0]?.headers.cookie).to.equal('a=1; b=2')
    await hub.close()
    session.destroy()
    server.close()
    await once(server, 'close')
  })
})
