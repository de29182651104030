import type { RequestListener } from 'node:http'
import net from 'node:net'
import { expect } from 'chai'
import { fast, lastIs, wire } from '../support/events.ts'
import { ask, proxyTo, raw, sse } from '../support/proxy.ts'
import { answers, freePort, isLeft, resets, serve, serveInTurn, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

// The tests of relaySse check the answers while the upstream is unavailable; these tests check that the proxy hands over to relaySse.
describe('the first attempt for a client that reconnects', () => {
  const relay = { isTerminal: lastIs('end'), reconnect: fast }
  const never: RequestListener = () => {}
  const noAnswer: RequestListener = (req) => req.socket.destroy()

  for (const [name, script, options] of [
    ['408', answers(408), {}],
    ['425', answers(425), {}],
    ['429', answers(429, { 'retry-after': '0', 'content-type': 'text/event-stream' }), {}],
    ['500', answers(500), {}],
    ['503', answers(503, { 'content-type': 'text/html' }, '<h1>away</h1>'), {}],
    ['a connection that closes', noAnswer, {}],
    ['no answer', never, { connectTimeout: 100 }],
  ] as const) {
    it(`is retried after ${name}`, async () => {
      await using upstream = await serveInTurn(script, stays(wire(8), wire(9, 'end')))
      await using proxy = await proxyTo(upstream, { relay, ...options })
      const client = await ask(`${proxy.url}?last_event_id=7`, { headers: sse })
      expect(await client.over).to.equal('end')
      expect([client.response.statusCode, client.text]).to.deep.equal([200, wire(8) + wire(9, 'end')])
      expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal(['7', '7'])
    })
  }

  it('is retried until the upstream listens, and the answer is relayed', async () => {
    const port = await freePort()
    await using proxy = await proxyTo(
      { port },
      { relay: { ...relay, reconnect: { ...fast, maxRetries: Number.POSITIVE_INFINITY } } },
    )
    const asked = ask(proxy.url, { headers: sse })
    await until(
      () => proxy.server.requests.length === 1,
      () => 'the request',
    )
    const headers = { 'access-control-allow-origin': '*', 'set-cookie': ['a=1', 'b=2'] }
    await using upstream = await serve((req, res) => {
      for (const [name, value] of Object.entries(headers)) res.setHeader(name, value)
      stays(wire(1, 'end'))(req, res)
    }, port)
    const client = await asked
    expect(await client.over).to.equal('end')
    expect(client.text).to.equal(wire(1, 'end'))
    expect(client.response.headers).to.deep.include(headers)
    expect(upstream.requests).to.have.length(1)
    expect(proxy.errors).to.deep.equal([])
  })

  it('follows no redirect, and neither does a retry, so that nothing is sent to another host', async () => {
    await using other = await serve(stays(wire(1)))
    await using upstream = await serveInTurn(answers(503), answers(307, { location: other.url }))
    await using proxy = await proxyTo(upstream)
    const client = await ask(proxy.url, { headers: { ...sse, authorization: 'Bearer x' } })
    await client.over
    expect(upstream.requests).to.have.length(2)
    expect(other.requests).to.deep.equal([])
  })

  for (const [name, method, headers] of [
    ['a program', 'GET', { accept: 'application/json' }],
    ['a client that accepts anything', 'GET', {}],
    ['a POST', 'POST', sse],
  ] as const) {
    it(`is not retried for ${name}, which gets the status`, async () => {
      await using upstream = await serve(answers(503, { 'x-a': '1' }, 'away'))
      await using proxy = await proxyTo(upstream, { relay })
      const client = await ask(proxy.url, { method, headers })
      await client.over
      expect([client.response.statusCode, client.response.headers['x-a'], client.text]).to.deep.equal([
        503,
        '1',
        'away',
      ])
      expect(upstream.requests).to.have.length(1)
    })
  }

  it('is the only one of a client for which clientReconnects is false: a status is its answer', async () => {
    await using upstream = await serve(answers(503))
    await using proxy = await proxyTo(upstream, { relay: { ...relay, clientReconnects: false } })
    const client = await ask(proxy.url, { headers: sse })
    await client.over
    expect(client.response.statusCode).to.equal(503)
    expect(upstream.requests).to.have.length(1)
  })

  it('is not retried any more when the client disconnects during a retry', async () => {
    await using upstream = await serveInTurn(answers(503), never)
    await using proxy = await proxyTo(upstream, { relay })
    const client = net.connect(proxy.server.port, '127.0.0.1').on('error', () => {})
    client.write('GET / HTTP/1.1\r\nhost: us\r\naccept: text/event-stream\r\n\r\n')
    await until(
      () => upstream.requests.length === 2,
      () => 'the second attempt',
    )
    client.destroy()
    await isLeft(upstream)
    await isLeft(proxy.server)
    expect(upstream.requests).to.have.length(2)
  })

  it('is answered with a 200 and a reconnection time when all retries fail (HTML, 9.2.3)', async () => {
    const port = await freePort()
    await using proxy = await proxyTo({ port }, { relay: { reconnect: { ...fast, maxRetries: 2 } } })
    const text = await raw(
      proxy.server.port,
      'GET / HTTP/1.1\r\nhost: us\r\nconnection: close\r\naccept: text/event-stream\r\n\r\n',
    )
    expect(text)
      .to.match(/^HTTP\/1\.1 200 OK\r\n/)
      .and.to.match(/\nretry: \d+\n/)
  })

  it("opens an event stream with 'content-encoding: none', which is reopened after a drop", async () => {
    await using upstream = await serveInTurn(
      (req, res) => {
        res.setHeader('content-encoding', 'none')
        resets(wire(1))(req, res)
      },
      stays(wire(2, 'end')),
    )
    await using proxy = await proxyTo(upstream, { relay })
    const client = await ask(proxy.url, { headers: sse })
    expect(await client.over).to.equal('end')
    expect(client.text).to.equal(wire(1) + wire(2, 'end'))
    expect(client.response.headers).not.to.have.property('content-encoding')
  })
})
