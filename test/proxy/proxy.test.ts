import { once } from 'node:events'
import http, { type IncomingMessage, type RequestListener } from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { pipeline, Readable } from 'node:stream'
import zlib from 'node:zlib'
import { expect } from 'chai'
import { createSseProxy, type ProxyOptions, type ProxyRelayOptions, refuseUpgrade } from '../../src/index.ts'
import { certificate } from '../support/certificate.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import {
  answers,
  ends,
  freePort,
  resets,
  serve,
  serveInTurn,
  stays,
  stream,
  type TestServer,
} from '../support/server.ts'
import { until } from '../support/until.ts'

interface Proxy extends AsyncDisposable {
  readonly server: TestServer
  readonly url: string
  readonly errors: Error[]
}

type Options = Omit<ProxyOptions, 'upstream'> & { readonly path?: string }

/** A proxy in front of the upstream on a port. */
async function proxyTo(
  { port }: { port: number },
  { path = '', relay, ...options }: Options = {},
): Promise<Proxy> {
  const errors: Error[] = []
  const agent = new http.Agent({ keepAlive: true })
  const server = await serve(
    createSseProxy({
      upstream: `http://127.0.0.1:${port}${path}`,
      relay: { reconnect: fast, ...relay },
      agent,
      onError: (error) => errors.push(error),
      ...options,
    }),
  )
  server.server.on('upgrade', refuseUpgrade).on('connect', refuseUpgrade)
  return {
    server,
    url: `http://127.0.0.1:${server.port}`,
    errors,
    async [Symbol.asyncDispose]() {
      await server.close()
      agent.destroy()
    },
  }
}

interface Client {
  readonly request: http.ClientRequest
  readonly response: IncomingMessage
  readonly text: string
  /** Resolves with 'end' or the error's message. */
  readonly over: Promise<string>
}

/** A client that keeps what it gets. */
async function ask(url: string, options: http.RequestOptions = {}, body?: string): Promise<Client> {
  const request = http.request(url, { agent: false, ...options })
  const response = answerTo(request)
  request.end(body)
  return response
}

async function answerTo(request: http.ClientRequest): Promise<Client> {
  let text = ''
  const over = new Promise<string>((resolve) => {
    request.on('error', ({ message }) => resolve(message))
    request.on('response', (response) => {
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve('end')).on('error', ({ message }) => resolve(message))
    })
  })
  const [response]: IncomingMessage[] = await once(request, 'response')
  if (!response) throw new Error('no response')
  return {
    request,
    response,
    get text() {
      return text
    },
    over,
  }
}

/** What comes back for bytes that no client would send, until the connection closes. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1').on('error', () => {})
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += chunk
  })
  socket.write(bytes, 'latin1')
  // Not `once` of events: it would reject for a reset, after which there may be an answer all the same.
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
  return text
}

const statusOf = (text: string) => Number(text.slice(9, 12))
const rawGet = (target: string, ...fields: string[]) =>
  `${[`GET ${target} HTTP/1.1`, 'host: us', 'connection: close', ...fields].join('\r\n')}\r\n\r\n`

/** Answers with the request's body, as it comes. */
const echo: RequestListener = (req, res) => {
  res.flushHeaders()
  pipeline(req, res, () => {})
}

/** The lines of a field, in order. */
const lines = ({ rawHeaders }: IncomingMessage, name: string) =>
  rawHeaders.filter((_, n) => n % 2 === 1 && rawHeaders[n - 1]?.toLowerCase() === name)

const sse = { accept: 'text/event-stream' }

describe('createSseProxy', () => {
  it('passes on to an https: upstream, also when its event stream is asked for again', async () => {
    let asked = 0
    const upstream = https.createServer(certificate, (request, response) => {
      const script = ++asked === 1 ? ends(wire(1)) : ends(wire(2, 'end'))
      script(request, response)
    })
    await once(upstream.listen(0, '127.0.0.1'), 'listening')
    const address = upstream.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    const agent = new https.Agent({ ca: certificate.cert })
    const relay = { reconnect: fast, isTerminal: lastIs('end') }
    await using server = await serve(
      createSseProxy({ upstream: `https://127.0.0.1:${address.port}/`, agent, relay }),
    )
    expect(await (await fetch(server.url)).text()).to.equal(wire(1) + wire(2, 'end'))
    agent.destroy()
    upstream.closeAllConnections()
    upstream.close()
    await once(upstream, 'close')
  })

  for (const [option, value] of [
    ['onError', 1],
    ['agent', {}],
    ['logger', {}],
  ] as const) {
    it(`refuses a wrong ${option}`, () => {
      const options = { upstream: 'http://upstream.test', [option]: value }
      expect(() => Reflect.apply(createSseProxy, undefined, [options])).to.throw(TypeError, option)
    })
  }

  describe('everything else', () => {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
      for (const framing of [{ 'content-length': '5' }, { 'transfer-encoding': 'chunked' }]) {
        it(`passes on ${method} with ${Object.keys(framing)}`, async () => {
          await using upstream = await serve(echo)
          await using proxy = await proxyTo(upstream)
          const client = await ask(`${proxy.url}/a?b=c`, { method, headers: framing }, 'hello')
          expect(await client.over).to.equal('end')
          expect(client.text).to.equal('hello')
          expect(upstream.requests.map(({ method, url }) => [method, url])).to.deep.equal([
            [method, '/a?b=c'],
          ])
          expect(upstream.requests[0]?.headers).to.include(framing)
        })
      }
    }

    it('passes on a POST without a body', async () => {
      await using upstream = await serve(echo)
      await using proxy = await proxyTo(upstream)
      expect(statusOf(await raw(proxy.server.port, rawGet('/').replace('GET', 'POST')))).to.equal(200)
      expect(upstream.requests[0]?.headers['content-length']).to.equal('0')
    })

    it('passes on status, reason, and repeated fields in both directions', async () => {
      await using upstream = await serve((_, res) => {
        res.writeHead(418, 'Short and stout', [
          'set-cookie',
          'a=1',
          'set-cookie',
          'b=2',
          'x-a',
          '1',
          'x-a',
          '2',
        ])
        res.end('tea')
      })
      await using proxy = await proxyTo(upstream)
      const client = await ask(proxy.url, { headers: { 'x-b': ['1', '2'], cookie: 'c=3' } })
      await client.over
      expect([client.response.statusCode, client.response.statusMessage, client.text]).to.deep.equal([
        418,
        'Short and stout',
        'tea',
      ])
      expect(lines(client.response, 'set-cookie')).to.deep.equal(['a=1', 'b=2'])
      expect(lines(client.response, 'x-a')).to.deep.equal(['1', '2'])
      const [request] = upstream.requests
      expect(request && lines(request, 'x-b')).to.deep.equal(['1', '2'])
      expect(request?.headers.cookie).to.equal('c=3')
    })

    for (const [method, status, length] of [
      ['HEAD', 200, '5'],
      ['HEAD', 200, undefined],
      ['GET', 304, '5'],
      ['GET', 204, undefined],
      ['GET', 204, '5'],
    ] as const) {
      it(`passes on the ${status} of a ${method} with content-length ${length}`, async () => {
        await using upstream = await serve((_, res) => {
          res
            .writeHead(status, { etag: '"1"', ...(length !== undefined && { 'content-length': length }) })
            .end()
        })
        await using proxy = await proxyTo(upstream)
        const client = await ask(proxy.url, { method, headers: { 'if-none-match': '"1"' } })
        expect(await client.over).to.equal('end')
        expect(client.response.statusCode).to.equal(status)
        expect(client.response.headers).to.include({ etag: '"1"' })
        expect(client.response.headers['content-length']).to.equal(status === 204 ? undefined : length)
        expect(upstream.requests[0]?.headers['if-none-match']).to.equal('"1"')
      })
    }

    it('does not follow a redirect', async () => {
      await using upstream = await serve(answers(302, { location: 'http://elsewhere.test/' }))
      await using proxy = await proxyTo(upstream)
      const client = await ask(proxy.url, { headers: sse })
      await client.over
      expect(client.response.statusCode).to.equal(302)
      expect(client.response.headers.location).to.equal('http://elsewhere.test/')
    })

    it('streams 100 MB up and down at the same time, holding nothing back', async () => {
      await using upstream = await serve(echo)
      await using proxy = await proxyTo(upstream)
      const request = http.request(proxy.url, { method: 'POST', agent: false })
      request.flushHeaders()
      const [response]: IncomingMessage[] = await once(request, 'response')
      if (!response) throw new Error('no response')
      const part = Buffer.alloc(2 ** 20, 'x')
      let got = 0
      response.on('data', (chunk: Buffer) => {
        got += chunk.length
      })
      for (let n = 1; n <= 100; n++) {
        request.write(part)
        // The next part is sent when this one is back.
        await until(
          () => got === n * part.length,
          () => `part ${n}, got ${got}`,
        )
      }
      request.end()
      await once(response, 'end')
    })

    it('stops an upstream whose client does not read', async () => {
      let made = 0
      await using upstream = await serve((_, res) => {
        const endless = function* () {
          for (; made < 200; made++) yield Buffer.alloc(2 ** 20)
        }
        pipeline(Readable.from(endless()), res, () => {})
      })
      await using proxy = await proxyTo(upstream)
      const request = http.get(proxy.url, { agent: false })
      const [response]: IncomingMessage[] = await once(request, 'response')
      response?.pause()
      let [before, turns] = [0, 0]
      await until(
        () => {
          turns = made === before && made > 0 ? turns + 1 : 0
          before = made
          return turns > 2000
        },
        () => 'standstill',
      )
      expect(made).to.be.below(100)
      request.on('error', () => {}).destroy()
    })

    it('does not end cleanly when the upstream resets in the middle of a body', async () => {
      await using upstream = await serve((req, res) => {
        res.write('half', () => setImmediate(() => req.socket.resetAndDestroy()))
      })
      await using proxy = await proxyTo(upstream)
      const client = await ask(proxy.url)
      expect(await client.over).to.equal('aborted')
      expect(client.text).to.equal('half')
      await until(
        () => proxy.errors.length === 1,
        () => 'the error is reported',
      )
      await until(
        () => proxy.errors.length > 0,
        () => 'the error is reported',
      )
      expect(proxy.errors[0]).to.have.property('code', 'ERR_SSE_DROPPED')
    })

    it("destroys the upstream's request when the client leaves in the middle of its body", async () => {
      await using upstream = await serve((req) => req.on('error', () => {}).resume())
      await using proxy = await proxyTo(upstream)
      const request = http.request(proxy.url, { method: 'POST', agent: false }).on('error', () => {})
      request.write('half')
      await until(
        () => upstream.requests.length === 1,
        () => 'request',
      )
      request.destroy()
      await until(
        () => upstream.sockets.size === 0,
        () => 'close',
        100,
      )
      expect(proxy.errors).to.deep.equal([])
    })

    it('passes on an answer that comes before the body is through', async () => {
      await using upstream = await serve((req, res) => {
        res.writeHead(413, { connection: 'close' }).end('too much')
        req.resume()
      })
      await using proxy = await proxyTo(upstream)
      const request = http.request(proxy.url, { method: 'POST', agent: false }).on('error', () => {})
      request.write('half')
      const client = await answerTo(request)
      expect(await client.over).to.equal('end')
      expect([client.response.statusCode, client.text]).to.deep.equal([413, 'too much'])
      request.destroy()
    })

    it('meets expect: 100-continue', async () => {
      await using upstream = await serve(echo)
      await using proxy = await proxyTo(upstream)
      const headers = { expect: '100-continue', 'content-length': '5' }
      const request = http.request(proxy.url, { method: 'POST', headers, agent: false })
      request.flushHeaders()
      await once(request, 'continue')
      const answer = answerTo(request)
      request.end('hello')
      const client = await answer
      await client.over
      expect(client.text).to.equal('hello')
      expect(upstream.requests[0]?.headers).not.to.have.property('expect')
    })

    for (const method of ['GET', 'POST']) {
      it(`answers a ${method} 502 when the upstream refuses`, async () => {
        await using proxy = await proxyTo({ port: await freePort() })
        const client = await ask(proxy.url, { method }, method === 'POST' ? 'x'.repeat(1e6) : undefined)
        expect(await client.over).to.equal('end')
        expect([client.response.statusCode, client.text]).to.deep.equal([502, '502 Bad Gateway\n'])
        await until(
          () => proxy.errors.length > 0,
          () => 'the error is reported',
        )
        expect(proxy.errors[0]).to.have.property('code', 'ERR_SSE_CONNECT')
      })
    }

    it('answers 504 when the upstream does not, within connectTimeout, and closes it', async () => {
      await using upstream = await serve((req) => req.resume())
      await using proxy = await proxyTo(upstream, { connectTimeout: 30 })
      const client = await ask(proxy.url, { method: 'POST' }, 'body')
      await client.over
      expect([client.response.statusCode, client.text]).to.deep.equal([504, '504 Gateway Timeout\n'])
      await until(
        () => upstream.sockets.size === 0,
        () => 'close',
      )
      await until(
        () => proxy.errors.length > 0,
        () => 'the error is reported',
      )
      expect(proxy.errors[0]).to.have.property('code', 'ERR_SSE_CONNECT_TIMEOUT')
    })

    it('does not wait twice on a kept-alive connection', async () => {
      await using upstream = await serveInTurn(answers(200), () => {})
      await using proxy = await proxyTo(upstream, { connectTimeout: 30 })
      await (await ask(proxy.url)).over
      const client = await ask(proxy.url)
      await client.over
      expect(client.response.statusCode).to.equal(504)
      expect(upstream.requests).to.have.length(2)
    })

    it('does not hold it against the upstream that the client is slow to send', async () => {
      await using upstream = await serve(slowEcho)
      await using proxy = await proxyTo(upstream, { connectTimeout: 20 })
      const request = http.request(proxy.url, { method: 'POST', agent: false })
      const answer = answerTo(request)
      request.write('a')
      const start = performance.now()
      await until(
        () => performance.now() - start > 100,
        () => '100 ms',
      )
      request.end('b')
      const client = await answer
      await client.over
      expect(client.text).to.equal('ab')
    })

    it('sends a GET again when a kept-alive connection was closed under it, a POST never', async () => {
      let dying = false
      await using upstream = await serve((req, res) => {
        if (dying && req.headers['x-last'] === undefined) req.socket.destroy()
        else res.end('fine')
        if (dying) dying = false
      })
      await using proxy = await proxyTo(upstream)
      for (const [method, status] of [
        ['GET', 200],
        ['POST', 502],
      ] as const) {
        await (await ask(proxy.url)).over
        dying = true
        const client = await ask(proxy.url, { method })
        await client.over
        expect(client.response.statusCode).to.equal(status)
      }
      expect(upstream.requests.map(({ method }) => method)).to.deep.equal([
        'GET',
        'GET',
        'GET',
        'GET',
        'POST',
      ])
    })
  })

  describe('header fields', () => {
    it('leaves out those of the hop, and those that connection names', async () => {
      await using upstream = await serve((_, res) => {
        res.writeHead(200, { connection: 'x-hop', 'x-hop': '1', 'x-end': '1', 'proxy-authenticate': 'Basic' })
        res.end()
      })
      await using proxy = await proxyTo(upstream)
      const fields = [
        'connection: x-hop, x-forwarded-for',
        'x-hop: 1',
        'x-end: 1',
        'keep-alive: timeout=5',
        'proxy-connection: keep-alive',
        'proxy-authorization: Basic x',
        'te: gzip, trailers',
        'upgrade: h2c',
        'x-forwarded-for: 6.6.6.6',
        'x-forwarded-host: evil',
        'x-forwarded-proto: https',
        'forwarded: for=6.6.6.6',
        '__proto__: 1',
      ]
      const answer = await raw(proxy.server.port, rawGet('/', ...fields))
      expect(answer)
        .to.include('x-end: 1')
        .and.not.match(/x-hop|proxy-authenticate/)
      expect(Object.assign(Object.create(null), upstream.requests[0]?.headers)).to.deep.equal(
        Object.assign(Object.create(null), {
          host: `127.0.0.1:${upstream.port}`,
          connection: 'keep-alive',
          'x-end': '1',
          te: 'trailers',
          'x-forwarded-for': '127.0.0.1',
          'x-forwarded-host': 'us',
          'x-forwarded-proto': 'http',
          via: '1.1 resilient-sse',
        }),
      )
      expect(lines(upstream.requests[0] ?? never(), '__proto__')).to.deep.equal(['1'])
    })

    it('appends to x-forwarded-for and via, and puts those of the options in place', async () => {
      await using upstream = await serve(answers(200))
      await using proxy = await proxyTo(upstream, {
        headers: { 'X-Forwarded-Proto': 'https', 'x-new': ['1', '2'] },
      })
      const headers = { 'x-forwarded-for': '1.2.3.4', via: '1.0 edge', 'x-new': 'client' }
      await (await ask(proxy.url, { headers })).over
      expect(upstream.requests[0]?.headers).to.include({
        'x-forwarded-for': '1.2.3.4, 127.0.0.1',
        via: '1.0 edge, 1.1 resilient-sse',
        'x-forwarded-proto': 'https',
        'x-new': '1, 2',
      })
    })

    it('lets no second request hide in the first', async () => {
      await using upstream = await serve(echo)
      await using proxy = await proxyTo(upstream)
      const smuggled = 'GET /smuggled HTTP/1.1\r\nhost: us\r\n\r\n'
      const body = `0\r\n\r\n${smuggled}`
      for (const [method, fields, status] of [
        ['POST', `content-length: ${body.length}\r\ntransfer-encoding: chunked`, 400],
        ['POST', `content-length: 3\r\ncontent-length: ${body.length}`, 400],
        ['POST', 'transfer-encoding: gzip, chunked', 501],
        ['POST', 'transfer-encoding: xchunked', 501],
        ['GET', `content-length: ${body.length}\r\nconnection: content-length`, 200],
        ['DELETE', `content-length: ${body.length}\r\nconnection: close, content-length`, 200],
      ] as const) {
        const head = `${method} / HTTP/1.1\r\nhost: us\r\nconnection: close\r\n${fields}\r\n\r\n`
        expect(statusOf(await raw(proxy.server.port, head + body)), fields).to.equal(status)
      }
      expect(upstream.requests.map(({ method, url }) => `${method} ${url}`)).to.deep.equal([
        'GET /',
        'DELETE /',
      ])
      expect(upstream.requests.map(({ headers }) => headers['content-length'])).to.deep.equal(
        Array(2).fill(String(body.length)),
      )
    })

    it('leaves it to node to refuse a head of 1 MB', async () => {
      await using upstream = await serve(answers(200))
      await using proxy = await proxyTo(upstream)
      const answer = await raw(proxy.server.port, rawGet('/', `last-event-id: ${'1'.repeat(2 ** 20)}`))
      // Node closes with bytes unread: the reset may overtake the answer.
      if (answer !== '') expect(statusOf(answer)).to.equal(431)
      expect(upstream.requests).to.deep.equal([])
    })
  })

  describe('request targets', () => {
    for (const [target, path] of [
      ['/a/b?c=http://evil/../..', '/prefix/a/b?c=http://evil/../..'],
      ['/', '/prefix/'],
      ['/a/./b/...', '/prefix/a/./b/...'],
      ['//evil/path', '/prefix//evil/path'],
      ['http://evil.test/path?q', '/prefix/path?q'],
      ['HTTPS://u:p@evil.test:99?q', '/prefix/?q'],
      ['http://evil.test//evil.test', '/prefix//evil.test'],
      ['/@evil.test', '/prefix/@evil.test'],
      ['/\\evil', undefined],
      ['/..', undefined],
      ['/../x', undefined],
      ['/a/../../x', undefined],
      ['/a/..?x', undefined],
      ['/%2e%2E/x', undefined],
      ['/.%2e/x', undefined],
      ['/a%2f..%2fx', undefined],
      ['/a%5c..%5Cx', undefined],
      ['/..;a=b/x', undefined],
      ['http://evil.test/../x', undefined],
      ['http://evil.test\\@other/', undefined],
      ['*', undefined],
      ['evil.test:80', undefined],
      ['ftp://evil.test/', undefined],
      ['/a\x01b', undefined],
      ['/a\tb', undefined],
      ['/a#b', undefined],
    ] as const) {
      it(`${path === undefined ? 'refuses' : 'keeps at the upstream'} ${JSON.stringify(target)}`, async () => {
        await using upstream = await serve(answers(200))
        await using proxy = await proxyTo(upstream, { path: '/prefix/' })
        const answer = await raw(proxy.server.port, rawGet(target))
        expect(statusOf(answer)).to.equal(path === undefined ? 400 : 200)
        expect(upstream.requests.map(({ url }) => url)).to.deep.equal(path === undefined ? [] : [path])
        for (const { headers } of upstream.requests)
          expect(headers.host).to.equal(`127.0.0.1:${upstream.port}`)
      })
    }

    for (const [name, bytes] of [
      ['CONNECT', 'CONNECT evil:80 HTTP/1.1\r\nhost: evil:80\r\n\r\n'],
      ['TRACE', rawGet('/').replace('GET', 'TRACE')],
      ['an upgrade', rawGet('/', 'connection: upgrade', 'upgrade: websocket')],
    ] as const) {
      it(`answers 501 to ${name}`, async () => {
        await using upstream = await serve(answers(200))
        await using proxy = await proxyTo(upstream)
        expect(statusOf(await raw(proxy.server.port, bytes))).to.equal(501)
        expect(upstream.requests).to.deep.equal([])
      })
    }

    it('answers 501 to an upgrade that nobody listens for, and ignores one to h2c', async () => {
      await using upstream = await serve(answers(200))
      await using proxy = await proxyTo(upstream)
      proxy.server.server.removeAllListeners('upgrade')
      const upgrade = (to: string) =>
        raw(proxy.server.port, rawGet('/', 'connection: upgrade', `upgrade: ${to}`))
      expect(statusOf(await upgrade('websocket'))).to.equal(501)
      expect(statusOf(await upgrade('h2c'))).to.equal(200)
    })
  })

  describe('event streams of a GET', () => {
    it('outlive drops; the upstream is asked the same, from where the stream is', async () => {
      await using upstream = await serveInTurn(
        resets(wire(1), wire(2), 'id: 3\nda'),
        answers(503),
        ends(wire(2) + wire(3)),
        stays(wire(4, 'end')),
      )
      await using proxy = await proxyTo(upstream, { relay: { isTerminal: lastIs('end') } })
      const headers = {
        accept: 'text/event-stream, */*',
        'accept-encoding': 'gzip',
        authorization: 'Bearer x',
        cookie: 'a=1',
        'if-none-match': '"1"',
        range: 'bytes=0-',
        'x-custom': '1',
      }
      const client = await ask(`${proxy.url}/events?a=b`, { headers })
      expect(await client.over).to.equal('end')
      expect(client.text).to.equal(wire(1) + wire(2) + wire(3) + wire(4, 'end'))
      expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([
        undefined,
        '2',
        '2',
        '3',
      ])
      for (const { url, headers } of upstream.requests) {
        expect(url).to.equal('/events?a=b')
        expect(headers).to.include({
          accept: 'text/event-stream, */*',
          authorization: 'Bearer x',
          cookie: 'a=1',
          'x-custom': '1',
          'x-forwarded-for': '127.0.0.1',
        })
        expect(headers).not.to.have.property('accept-encoding')
      }
      expect(upstream.requests.map(({ headers }) => [headers['if-none-match'], headers.range])).to.deep.equal(
        [['"1"', 'bytes=0-'], ...Array(3).fill([undefined, undefined])],
      )
      expect(proxy.errors).to.deep.equal([])
    })

    it("have the head of the upstream's first answer, but for what is about its body", async () => {
      await using upstream = await serve((_, res) => {
        res.writeHead(200, {
          'content-type': 'text/event-stream;charset=utf-8',
          'content-encoding': 'gzip',
          'set-cookie': ['a=1', 'b=2'],
          'access-control-allow-origin': '*',
          'x-custom': '1',
          'keep-alive': 'timeout=99',
          date: 'Thu, 01 Jan 1970 00:00:00 GMT',
        })
        const gzip = zlib.createGzip()
        gzip.pipe(res)
        gzip.write(wire(1))
        gzip.flush()
      })
      await using proxy = await proxyTo(upstream, { relay: { isTerminal: lastIs('event 1') } })
      const client = await ask(proxy.url, { headers: { 'accept-encoding': 'gzip' } })
      expect(await client.over).to.equal('end')
      expect(client.text).to.equal(wire(1))
      const { headers } = client.response
      expect(headers).to.include({
        'content-type': 'text/event-stream',
        'cache-control': 'no-cache, no-transform',
        'access-control-allow-origin': '*',
        'x-custom': '1',
      })
      expect(headers['set-cookie']).to.deep.equal(['a=1', 'b=2'])
      expect(headers).not.to.have.any.keys('content-encoding', 'content-length')
      expect(headers['keep-alive']).not.to.equal('timeout=99')
      expect(headers.date).not.to.include('1970')
    })

    it('go through as they are in a coding that cannot be taken off', async () => {
      await using upstream = await serve(
        answers(200, { 'content-type': 'text/event-stream', 'content-encoding': 'x-odd' }, 'bytes'),
      )
      await using proxy = await proxyTo(upstream)
      const client = await ask(proxy.url)
      expect(await client.over).to.equal('end')
      expect(client.text).to.equal('bytes')
      expect(client.response.headers['content-encoding']).to.equal('x-odd')
    })

    for (const [name, query, headers, sent] of [
      ['the header', '', { 'last-event-id': '7' }, '7'],
      ['the query', '?lastEventId=7', {}, '7'],
      ['no query with CR', '?lastEventId=7%0D', {}, undefined],
      ['no query with a control character', '?lastEventId=7%01', {}, undefined],
    ] as const) {
      it(`start from ${name}`, async () => {
        await using upstream = await serveInTurn(resets(':\n\n'), stays(wire(8, 'end')))
        await using proxy = await proxyTo(upstream, {
          relay: { isTerminal: lastIs('end'), statusEvents: true },
        })
        const client = await ask(`${proxy.url}/${query}`, { headers: { ...sse, ...headers } })
        await client.over
        expect(client.text).to.include(wire(8, 'end')).and.not.include('gap')
        expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([sent, sent])
      })
    }

    for (const [status, headers] of [
      [401, { 'www-authenticate': 'Bearer' }],
      [404, { 'content-type': 'text/event-stream' }],
      [503, { 'retry-after': '30', 'x-custom': '1' }],
    ] as const) {
      it(`do not come of a ${status}, which goes through as it is`, async () => {
        await using upstream = await serve(answers(status, headers, 'the reason'))
        await using proxy = await proxyTo(upstream)
        const client = await ask(proxy.url, { headers: sse })
        expect(await client.over).to.equal('end')
        expect([client.response.statusCode, client.text]).to.deep.equal([status, 'the reason'])
        expect(client.response.headers).to.include(headers)
        expect(upstream.requests).to.have.length(1)
      })
    }

    it('fail on a redirect when they reconnect: credentials go nowhere else', async () => {
      await using other = await serve(stays(wire(2)))
      await using upstream = await serveInTurn(resets(wire(1)), answers(307, { location: other.url }))
      await using proxy = await proxyTo(upstream)
      const client = await ask(proxy.url, { headers: { ...sse, authorization: 'Bearer x' } })
      expect(await client.over).to.equal('aborted')
      expect(other.requests).to.deep.equal([])
      await until(
        () => proxy.errors.length > 0,
        () => 'the error is reported',
      )
      expect(proxy.errors[0]).to.have.property('code', 'ERR_SSE_STATUS')
    })

    it('survive that the upstream is killed and comes back on its port', async () => {
      const first = await serve(stays(wire(1), wire(2)))
      const { port } = first
      await using proxy = await proxyTo(first, {
        relay: { isTerminal: lastIs('end'), reconnect: { ...fast, maxRetries: Number.POSITIVE_INFINITY } },
      })
      const client = await ask(proxy.url, { headers: sse })
      await until(
        () => client.text === wire(1) + wire(2),
        () => client.text,
      )
      await first.close()
      await using second = await serve(stays(wire(2), wire(3, 'end')), port)
      expect(await client.over).to.equal('end')
      expect(client.text).to.equal(wire(1) + wire(2) + wire(3, 'end'))
      expect(second.requests[0]?.headers['last-event-id']).to.equal('2')
    })

    it('are not made of a HEAD', async () => {
      await using upstream = await serve(ends())
      await using proxy = await proxyTo(upstream)
      const client = await ask(proxy.url, { method: 'HEAD', headers: sse })
      expect(await client.over).to.equal('end')
      expect(client.response.headers['content-type']).to.equal('text/event-stream')
      expect(client.response.headers).not.to.have.property('cache-control')
      expect(upstream.requests).to.have.length(1)
    })
  })

  describe('event streams of other requests', () => {
    const relay: ProxyRelayOptions = { resume: 'always', reconnect: { ...fast, shouldRetry: () => true } }
    for (const [name, script, text, over] of [
      ['a reset before the first event', resets(': hi\n'), undefined, 'aborted'],
      ['a reset after it', resets(wire(1)), wire(1), 'aborted'],
      ['a clean end before the first event', ends(), '', 'end'],
      ['a clean end after it', ends(wire(1)), wire(1), 'end'],
    ] as const) {
      for (const method of ['POST', 'PUT', 'GET'] as const) {
        it(`are never asked for twice: ${name}, ${method}`, async () => {
          await using upstream = await serve((req, res) => {
            req.resume().on('end', () => script(req, res))
          })
          await using proxy = await proxyTo(upstream, { relay })
          const headers = { ...sse, 'content-length': '4' }
          const client = await ask(proxy.url, { method, headers }, 'body')
          expect(await client.over).to.equal(over)
          if (text !== undefined) expect(client.text).to.equal(text)
          expect(upstream.requests).to.have.length(1)
          await until(
            () => proxy.errors.length === (over === 'end' ? 0 : 1),
            () => 'the error is reported',
          )
        })
      }
    }

    it('break when they end before the terminal event', async () => {
      for (const script of [ends(), ends(wire(1))]) {
        await using upstream = await serve(script)
        await using proxy = await proxyTo(upstream, { relay: { ...relay, isTerminal: lastIs('end') } })
        const client = await ask(proxy.url, { method: 'POST' })
        expect(await client.over).to.equal('aborted')
        expect(upstream.requests).to.have.length(1)
      }
    })
  })

  describe('a client that leaves', () => {
    const pending: RequestListener = () => {}
    const body: RequestListener = (_, res) => {
      res.write('half')
    }
    for (const [name, script, method, answered] of [
      ['before the answer', pending, 'GET', false],
      ['in the middle of a body', body, 'GET', true],
      ['in the middle of an event stream', stays(wire(1)), 'GET', true],
      ["in the middle of a POST's event stream", stays(wire(1)), 'POST', true],
    ] as const) {
      it(`${name} closes the upstream's connection within 100 ms`, async () => {
        await using upstream = await serve(script)
        await using proxy = await proxyTo(upstream)
        const request = http.request(proxy.url, { method, agent: false }).on('error', () => {})
        request.end()
        if (answered) await once(request, 'response')
        await until(
          () => upstream.requests.length === 1,
          () => 'request',
        )
        request.destroy()
        await until(
          () => upstream.sockets.size === 0,
          () => 'close',
          100,
        )
        expect(proxy.errors).to.deep.equal([])
      })
    }

    it('while it reconnects closes the attempt within 100 ms', async () => {
      await using upstream = await serveInTurn(resets(wire(1)), pending)
      await using proxy = await proxyTo(upstream)
      const client = await ask(proxy.url, { headers: sse })
      await until(
        () => upstream.requests.length === 2,
        () => 'attempt',
      )
      client.request.destroy()
      await until(
        () => upstream.sockets.size === 0,
        () => 'close',
        100,
      )
      expect(upstream.requests).to.have.length(2)
    })

    it("reads the upstream to its end with onClientGone: 'drain'", async () => {
      let finish = () => {}
      let finished = false
      await using upstream = await serve((_, res) => {
        res.on('finish', () => {
          finished = true
        })
        finish = () => res.write(wire(1), () => res.end(wire(2, 'end')))
        stream(res)
      })
      await using proxy = await proxyTo(upstream, {
        relay: { onClientGone: 'drain', isTerminal: lastIs('end') },
      })
      const client = await ask(proxy.url, { headers: sse })
      client.request.destroy()
      await until(
        () => proxy.server.sockets.size === 0,
        () => 'leaving',
      )
      finish()
      await until(
        () => finished,
        () => 'the end',
      )
    })
  })

  describe('options', () => {
    for (const [options, type, message] of [
      [{ upstream: 'nowhere' }, TypeError, 'upstream'],
      [{ upstream: 'ftp://a.test' }, TypeError, 'upstream'],
      [{ upstream: 'http://u:secret@a.test' }, TypeError, 'upstream'],
      [{ upstream: 'http://a.test/?a' }, TypeError, 'upstream'],
      [{ connectTimeout: -1 }, RangeError, 'connectTimeout'],
      [{ relay: { heartbeat: -1 } }, RangeError, 'heartbeat'],
      [{ relay: { retry: -1 } }, RangeError, 'retry'],
      [{ relay: { reconnect: { jitter: 2 } } }, RangeError, 'reconnect.jitter'],
      [{ headers: { 'a b': 'c' } }, TypeError, 'headers.a b'],
      [{ headers: { a: 'b\r\nc: d' } }, TypeError, 'headers.a'],
      [{ headers: { 'Transfer-Encoding': 'chunked' } }, TypeError, 'headers.Transfer-Encoding'],
    ] as const) {
      it(`refuses ${JSON.stringify(options)}`, () => {
        const create = () => createSseProxy({ upstream: 'http://a.test', ...options })
        expect(create).to.throw(type, message)
        expect(create).not.to.throw('secret')
      })
    }
  })
})

const slowEcho: RequestListener = (req, res) => {
  const parts: Buffer[] = []
  req.on('data', (part: Buffer) => parts.push(part)).on('end', () => res.end(Buffer.concat(parts)))
}

function never(): never {
  throw new Error('no request')
}
