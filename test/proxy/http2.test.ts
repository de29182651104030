import { once } from 'node:events'
import http2 from 'node:http2'
import { expect } from 'chai'
import { createSseProxy, type ProxyOptions } from '../../src/index.ts'
import { certificate } from '../support/certificate.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { echo, lines } from '../support/proxy.ts'
import { answers, isLeft, resets, serve, serveInTurn, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

/** A server of HTTP/2 over TLS in front of an upstream, and a session with it. */
async function proxyTo({ port }: { port: number }, options: Partial<ProxyOptions> = {}) {
  const errors: Error[] = []
  const proxy = createSseProxy({
    upstream: `http://127.0.0.1:${port}`,
    relay: { reconnect: fast, isTerminal: lastIs('end') },
    onError: (error) => errors.push(error),
    ...options,
  })
  const server = http2.createSecureServer(certificate, proxy).on('checkContinue', proxy)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  const session = http2.connect(`https://localhost:${address.port}`, { ca: certificate.cert })
  return {
    errors,
    authority: `localhost:${address.port}`,
    /** Sends a request, and resolves when the head of the answer has arrived. */
    async ask(fields: http2.OutgoingHttpHeaders, body?: string) {
      const stream = session.request(fields, { endStream: body === undefined })
      let text = ''
      stream.setEncoding('utf8').on('data', (chunk) => {
        text += chunk
      })
      stream.on('error', () => {})
      if (body !== undefined) stream.end(body)
      const [headers] = await once(stream, 'response')
      return {
        stream,
        headers,
        get text() {
          return text
        },
        over: new Promise<number>((resolve) => stream.once('close', () => resolve(stream.rstCode))),
      }
    },
    session,
    async [Symbol.asyncDispose]() {
      session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('createSseProxy on a server of HTTP/2', () => {
  it('passes requests and answers on, without the fields that belong to an HTTP version or a connection', async () => {
    await using upstream = await serve((_, res) => {
      res.writeHead(418, 'Short and stout', {
        'set-cookie': ['a=1', 'b=2'],
        'keep-alive': 'timeout=9',
        connection: 'close, x-hop',
        'x-hop': '1',
      })
      res.end('tea')
    })
    await using proxy = await proxyTo(upstream)
    const fields = { ':path': '/a?b=\\c', cookie: ['c=1', 'd=2'], te: 'trailers', 'x-b': ['1', '2'] }
    const answer = await proxy.ask(fields)
    expect(await answer.over).to.equal(http2.constants.NGHTTP2_NO_ERROR)
    const { headers } = answer
    expect([headers[':status'], answer.text]).to.deep.equal([418, 'tea'])
    expect(headers['set-cookie']).to.deep.equal(['a=1', 'b=2'])
    expect(headers).not.to.have.any.keys('connection', 'keep-alive', 'x-hop', 'transfer-encoding')
    const [request] = upstream.requests
    expect([request?.method, request?.url]).to.deep.equal(['GET', '/a?b=\\c'])
    expect(Object.keys(request?.headers ?? {}).filter((name) => name.startsWith(':'))).to.deep.equal([])
    expect(request?.headers).to.include({
      host: `127.0.0.1:${upstream.port}`,
      cookie: 'c=1; d=2',
      te: 'trailers',
      via: '2.0 resilient-sse',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': proxy.authority,
      forwarded: `for=127.0.0.1;host="${proxy.authority}";proto=https`,
    })
    expect(request && lines(request, 'x-b')).to.deep.equal(['1', '2'])
  })

  for (const [method, fields, framing] of [
    ['POST', {}, { 'transfer-encoding': 'chunked' }],
    ['DELETE', {}, { 'transfer-encoding': 'chunked' }],
    ['PUT', { 'content-length': '5' }, { 'content-length': '5' }],
  ] as const) {
    it(`passes on the body of a ${method} with ${Object.keys(framing)}`, async () => {
      await using upstream = await serve(echo)
      await using proxy = await proxyTo(upstream)
      const answer = await proxy.ask({ ':method': method, ...fields }, 'hello')
      await answer.over
      expect(answer.text).to.equal('hello')
      expect(upstream.requests[0]?.headers).to.include(framing)
    })
  }

  it('keeps an event stream over drops', async () => {
    await using upstream = await serveInTurn(resets(wire(1)), stays(wire(1), wire(2, 'end')))
    await using proxy = await proxyTo(upstream)
    const answer = await proxy.ask({ accept: 'text/event-stream' })
    expect(await answer.over).to.equal(http2.constants.NGHTTP2_NO_ERROR)
    expect(answer.text).to.equal(wire(1) + wire(2, 'end'))
    expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([undefined, '1'])
  })

  it('resets the stream of an answer that was cut off', async () => {
    await using upstream = await serve((req, res) => {
      res.write('half', () => setImmediate(() => req.socket.resetAndDestroy()))
    })
    await using proxy = await proxyTo(upstream)
    const answer = await proxy.ask({})
    expect(await answer.over).to.equal(http2.constants.NGHTTP2_INTERNAL_ERROR)
    expect(proxy.errors[0]).to.have.property('code', 'ERR_SSE_DROPPED')
  })

  it("closes the upstream's connection when the client resets its stream, also in the middle of a body", async () => {
    await using upstream = await serve(() => {})
    await using proxy = await proxyTo(upstream)
    for (const body of [false, true]) {
      const stream = proxy.session.request({ ':method': 'POST' }, { endStream: !body }).on('error', () => {})
      if (body) stream.write('half')
      await until(
        () => upstream.requests.length === (body ? 2 : 1),
        () => 'the request',
      )
      // Not `close`, which ends the body properly first.
      stream.destroy(new Error('left'))
      await isLeft(upstream)
    }
    expect(proxy.errors).to.deep.equal([])
    expect(upstream.requests[1]?.complete).to.equal(false)
  })

  it('sends its own answers as on HTTP/1.1', async () => {
    await using upstream = await serve(answers(200))
    await using proxy = await proxyTo(upstream, { hosts: ['localhost'] })
    expect((await proxy.ask({ ':path': '/../x' })).headers[':status']).to.equal(400)
    expect((await proxy.ask({ ':authority': 'evil.test' })).headers[':status']).to.equal(421)
    await upstream.close()
    expect((await proxy.ask({})).headers[':status']).to.equal(502)
  })

  it("passes on the upstream's 100 and 103", async () => {
    await using upstream = await serve(() => {})
    upstream.server.on('checkContinue', (req, res) => {
      res.writeEarlyHints({ link: '</a.css>; rel=preload' })
      res.writeContinue()
      echo(req, res)
    })
    await using proxy = await proxyTo(upstream)
    const stream = proxy.session.request({ ':method': 'POST', expect: '100-continue' })
    const hints: unknown[] = []
    stream.on('headers', (headers) => hints.push(headers[':status'], headers.link))
    await once(stream, 'continue')
    stream.end('hello')
    let text = ''
    for await (const chunk of stream) text += chunk
    expect(text).to.equal('hello')
    expect(hints).to.include('</a.css>; rel=preload')
  })
})
