import { once } from 'node:events'
import http, { type IncomingMessage, type RequestListener } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import { expect } from 'chai'
import { lastIs, wire } from '../support/events.ts'
import { answerTo, ask, echo, lines, proxyTo, raw, rawGet, reports, sse, statusOf } from '../support/proxy.ts'
import {
  answers,
  ends,
  freePort,
  isLeft,
  resets,
  serve,
  serveInTurn,
  stays,
  stream,
} from '../support/server.ts'
import { until } from '../support/until.ts'

describe('a request through the proxy', () => {
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
    for (const framing of [{ 'content-length': '5' }, { 'transfer-encoding': 'chunked' }]) {
      it(`passes on ${method} with ${Object.keys(framing)}`, async () => {
        await using upstream = await serve(echo)
        await using proxy = await proxyTo(upstream)
        const client = await ask(`${proxy.url}/a?b=c`, { method, headers: framing }, 'hello')
        expect(await client.over).to.equal('end')
        expect(client.text).to.equal('hello')
        expect(upstream.requests.map(({ method, url }) => [method, url])).to.deep.equal([[method, '/a?b=c']])
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

  it('streams 100 MB up and down at the same time, and passes each part on at once', async () => {
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
      // The next part is sent when this part has come back.
      await until(
        () => got === n * part.length,
        () => `part ${n}, got ${got}`,
      )
    }
    request.end()
    await once(response, 'end')
  })

  it('pauses an upstream whose client does not read', async () => {
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
    await reports(proxy, 'ERR_SSE_DROPPED')
    expect(proxy.errors).to.have.length(1)
    expect(proxy.errors[0]?.message).to.match(/^the upstream broke off its answer: ./)
  })

  it("destroys the upstream's request when the client disconnects in the middle of its body", async () => {
    await using upstream = await serve((req) => req.on('error', () => {}).resume())
    await using proxy = await proxyTo(upstream)
    const request = http.request(proxy.url, { method: 'POST', agent: false }).on('error', () => {})
    request.write('half')
    await until(
      () => upstream.requests.length === 1,
      () => 'request',
    )
    request.destroy()
    await isLeft(upstream)
    expect(proxy.errors).to.deep.equal([])
  })

  it('passes on an answer that comes before the whole body was sent', async () => {
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

  for (const [what, script, text] of [
    ['an answer', answers(413, {}, 'too much'), 'too much'],
    ['an event stream', ends('data: 1\n\n'), 'data: 1\n\n'],
  ] as const) {
    it(`closes the upstream's connection after ${what} that ends before the whole body was sent`, async () => {
      await using upstream = await serve(script)
      await using proxy = await proxyTo(upstream)
      const request = http.request(proxy.url, { method: 'POST', agent: false }).on('error', () => {})
      request.write('half')
      const client = await answerTo(request)
      expect(await client.over).to.equal('end')
      expect(client.text).to.equal(text)
      await isLeft(upstream)
      expect(proxy.errors).to.deep.equal([])
      request.destroy()
    })
  }

  for (const method of ['GET', 'POST']) {
    it(`answers a ${method} with 502 when the upstream refuses the connection`, async () => {
      await using proxy = await proxyTo({ port: await freePort() })
      const client = await ask(proxy.url, { method }, method === 'POST' ? 'x'.repeat(1e6) : undefined)
      expect(await client.over).to.equal('end')
      expect([client.response.statusCode, client.text]).to.deep.equal([502, '502 Bad Gateway\n'])
      await reports(proxy, 'ERR_SSE_CONNECT')
    })
  }

  for (const [what, headers, time, other] of [
    ['connectTimeout, for a client that accepts event streams', sse, 'connectTimeout', 'responseTimeout'],
    ['responseTimeout, for any other client', {}, 'responseTimeout', 'connectTimeout'],
  ] as const) {
    it(`answers 504 when the upstream does not answer within ${what}, and closes its connection`, async () => {
      await using upstream = await serve((req) => req.resume())
      await using proxy = await proxyTo(upstream, { [time]: 30, [other]: 0 })
      const client = await ask(proxy.url, { method: 'POST', headers }, 'body')
      await client.over
      expect([client.response.statusCode, client.text]).to.deep.equal([504, '504 Gateway Timeout\n'])
      await isLeft(upstream)
      await reports(proxy, 'ERR_SSE_CONNECT_TIMEOUT')
    })
  }

  it('waits longer than connectTimeout for a client that accepts no event stream', async () => {
    await using upstream = await serve((req, res) => {
      const timer = setTimeout(() => res.end('thought about'), 100)
      req.socket.once('close', () => clearTimeout(timer))
    })
    await using proxy = await proxyTo(upstream, { connectTimeout: 20 })
    const client = await ask(proxy.url, { method: 'POST' }, 'body')
    await client.over
    expect(client.text).to.equal('thought about')
  })

  it('does not wait for responseTimeout twice on a kept-alive connection', async () => {
    await using upstream = await serveInTurn(answers(200), () => {})
    await using proxy = await proxyTo(upstream, { responseTimeout: 250 })
    await (await ask(proxy.url)).over
    const client = await ask(proxy.url)
    await client.over
    expect(client.response.statusCode).to.equal(504)
    expect(upstream.requests).to.have.length(2)
  })

  it('does not count a client that sends slowly as an upstream that does not answer', async () => {
    await using upstream = await serve(slowEcho)
    const responseTimeout = 250
    await using proxy = await proxyTo(upstream, { responseTimeout })
    const request = http.request(proxy.url, { method: 'POST', agent: false })
    const answer = answerTo(request)
    request.write('a')
    const start = performance.now()
    await until(
      () => performance.now() - start > 2 * responseTimeout,
      () => 'the time is over',
    )
    request.end('b')
    const client = await answer
    await client.over
    expect(client.text).to.equal('ab')
  })

  for (const [method, status, requests] of [
    ['GET', 200, 3],
    ['DELETE', 200, 3],
    ['POST', 502, 2],
  ] as const) {
    it(`answers a ${method} with ${status} when a kept-alive connection turns out to be closed`, async () => {
      await using upstream = await serve((req, res) => {
        if (upstream.requests.length === 2) req.socket.resetAndDestroy()
        else res.end('fine')
      })
      await using proxy = await proxyTo(upstream)
      await (await ask(proxy.url)).over
      const client = await ask(proxy.url, { method })
      await client.over
      expect(client.response.statusCode).to.equal(status)
      expect(upstream.requests).to.have.length(requests)
    })
  }

  for (const [what, link, hints] of [
    ['with links', '</a.css>; rel=preload; as=style, </b.js>; rel=preload', true],
    ['with a link that node cannot write', 'a.css', false],
  ] as const) {
    it(`passes on the answer that follows early hints ${what}`, async () => {
      await using upstream = await serve(({ socket }, res) => {
        socket.write(`HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: ${link}\r\n\r\n`)
        res.end('final')
      })
      await using proxy = await proxyTo(upstream)
      const request = http.get(proxy.url, { agent: false })
      const told: unknown[] = []
      request.on('information', ({ statusCode, headers }) => told.push([statusCode, headers.link]))
      const client = await answerTo(request)
      expect(await client.over).to.equal('end')
      expect([client.response.statusCode, client.text]).to.deep.equal([200, 'final'])
      expect(told).to.deep.equal(hints ? [[103, link]] : [])
    })
  }

  it('sends no early hints to a client of HTTP/1.0', async () => {
    await using upstream = await serve((_, res) => {
      res.writeEarlyHints({ link: '</a.css>; rel=preload' })
      res.end('final')
    })
    await using proxy = await proxyTo(upstream)
    const answer = await raw(proxy.server.port, 'GET / HTTP/1.0\r\nhost: us\r\n\r\n')
    expect(statusOf(answer)).to.equal(200)
    expect(answer).to.match(/final$/)
  })
})

describe('a client that disconnects', () => {
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
    it(`${name} closes the upstream's connection at once`, async () => {
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
      await isLeft(upstream)
      expect(proxy.errors).to.deep.equal([])
    })
  }

  it('while the proxy reconnects closes the attempt at once', async () => {
    await using upstream = await serveInTurn(resets(wire(1)), pending)
    await using proxy = await proxyTo(upstream)
    const client = await ask(proxy.url, { headers: sse })
    await until(
      () => upstream.requests.length === 2,
      () => 'attempt',
    )
    client.request.destroy()
    await isLeft(upstream)
    expect(upstream.requests).to.have.length(2)
  })

  it("with onClientGone: 'drain' lets the proxy read the upstream to its end", async () => {
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
    await isLeft(proxy.server)
    finish()
    await until(
      () => finished,
      () => 'the end',
    )
  })
})

const slowEcho: RequestListener = (req, res) => {
  const parts: Buffer[] = []
  req.on('data', (part: Buffer) => parts.push(part)).on('end', () => res.end(Buffer.concat(parts)))
}
