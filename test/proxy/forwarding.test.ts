import https from 'node:https'
import { expect } from 'chai'
import { createSseProxy } from '../../src/index.ts'
import { checkProxyOptions } from '../../src/proxy/options.ts'
import { certificate } from '../support/certificate.ts'
import { serveTls } from '../support/dialling.ts'
import { ask, echo, lines, proxyTo, raw, rawGet, statusOf } from '../support/proxy.ts'
import { answers, serve } from '../support/server.ts'

describe('header fields through the proxy', () => {
  it('do not include hop-by-hop fields and the fields that connection names', async () => {
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
        forwarded: 'for=127.0.0.1;host=us;proto=http',
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-host': 'us',
        'x-forwarded-proto': 'http',
        via: '1.1 resilient-sse',
      }),
    )
    expect(lines(upstream.requests[0] ?? never(), '__proto__')).to.deep.equal(['1'])
  })

  it('include the appended x-forwarded-for and via, and the fields of the option headers', async () => {
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

  const said = {
    'x-forwarded-for': '1.2.3.4',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'public.test',
    forwarded: 'for=1.2.3.4;proto=https;host=public.test',
    'x-forwarded-port': '443',
  }
  const { forwarded: _, ...saidInOldForm } = said
  const seen = {
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-host': '"us:81"',
    forwarded: 'for=127.0.0.1;host="\\"us:81\\"";proto=http',
  }
  for (const [forwarded, given, sent] of [
    ['append', {}, seen],
    ['append', said, { ...seen, 'x-forwarded-for': '1.2.3.4, 127.0.0.1', 'x-forwarded-port': '443' }],
    ['trust', {}, seen],
    [
      'trust',
      said,
      {
        ...said,
        'x-forwarded-for': '1.2.3.4, 127.0.0.1',
        forwarded: `${said.forwarded}, ${seen.forwarded}`,
      },
    ],
    ['trust', saidInOldForm, { ...saidInOldForm, 'x-forwarded-for': '1.2.3.4, 127.0.0.1' }],
    [
      'trust',
      { forwarded: said.forwarded },
      { 'x-forwarded-for': '127.0.0.1', forwarded: `${said.forwarded}, ${seen.forwarded}` },
    ],
    ['off', {}, {}],
    ['off', said, {}],
  ] as const) {
    it(`follow the option forwarded: '${forwarded}' when the client sends ${Object.keys(given).join() || 'no such field'}`, async () => {
      await using upstream = await serve(answers(200))
      await using proxy = await proxyTo(upstream, { forwarded })
      const fields = Object.entries(given).map(([name, value]) => `${name}: ${value}`)
      await raw(proxy.server.port, rawGet('/', ...fields).replace('host: us', 'host: "us:81"'))
      const { headers } = upstream.requests[0] ?? never()
      const about = Object.entries(headers).filter(([name]) => /^(x-)?forwarded/.test(name))
      expect(Object.fromEntries(about)).to.deep.equal(sent)
      expect(headers.via).to.equal('1.1 resilient-sse')
    })
  }

  it('include an IPv6 address in the form of RFC 7239', async () => {
    await using upstream = await serve(answers(200))
    await using proxy = await proxyTo(upstream)
    proxy.server.server.prependListener('request', ({ socket }) =>
      Object.defineProperty(socket, 'remoteAddress', { value: '2001:db8::1' }),
    )
    await (await ask(proxy.url)).over
    expect(upstream.requests[0]?.headers).to.include({
      forwarded: `for="[2001:db8::1]";host="127.0.0.1:${proxy.server.port}";proto=http`,
      'x-forwarded-for': '2001:db8::1',
    })
  })

  for (const [host, target, field, sent] of [
    ['client', '/', 'host: Public.test:81', 'Public.test:81'],
    ['client', 'http://other.test:82/', 'host: public.test', 'other.test:82'],
    ['client', 'http://u:p@other.test', 'host: public.test', 'other.test'],
    ['upstream', 'http://other.test:82/', 'host: public.test', undefined],
  ] as const) {
    it(`include the ${host}'s host as Host for ${target} with ${field}`, async () => {
      await using upstream = await serve(answers(200))
      await using proxy = await proxyTo(upstream, { host })
      await raw(proxy.server.port, `GET ${target} HTTP/1.1\r\n${field}\r\nconnection: close\r\n\r\n`)
      expect(upstream.requests[0]?.headers.host).to.equal(sent ?? `127.0.0.1:${upstream.port}`)
    })
  }

  it("do not affect the check of the upstream's certificate with host: 'client'", async () => {
    const names: unknown[] = []
    await using upstream = await serveTls((req, res) => res.end(req.headers.host))
    upstream.server.on('secureConnection', ({ servername }) => names.push(servername))
    const agent = new https.Agent({ ca: certificate.cert })
    await using server = await serve(createSseProxy({ upstream: upstream.url, agent, host: 'client' }))
    const answer = await raw(server.port, rawGet('/').replace('host: us', 'host: public.test'))
    expect(answer).to.match(/public\.test$/)
    expect(names).to.deep.equal(['localhost'])
    agent.destroy()
  })

  for (const [upstream, servername] of [
    ['https://api.test', 'api.test'],
    ['https://127.0.0.1', ''],
    ['https://[::1]:8443', ''],
  ] as const) {
    it(`ask ${upstream} for a certificate by ${servername || 'its address'} with host: 'client'`, () => {
      const { address, agent } = checkProxyOptions({ upstream, host: 'client' })
      agent.destroy()
      // Node asks for a certificate of the address when there is no name.
      expect(address.servername).to.equal(servername)
    })
  }

  describe('with the option hosts', () => {
    const hosts = ['Us.test', 'one.test:81', '[::1]']
    for (const [target, host, status] of [
      ['/', 'us.test', 200],
      ['/', 'US.TEST:8080', 200],
      ['/', 'one.test:81', 200],
      ['/', '[::1]:80', 200],
      ['http://us.test/', 'evil.test', 200],
      ['/', 'one.test', 421],
      ['/', 'one.test:82', 421],
      ['/', 'evil.test', 421],
      ['/', 'us.test.evil.test', 421],
      ['/', 'xus.test', 421],
      ['http://evil.test/', 'us.test', 421],
      ['/', undefined, 421],
    ] as const) {
      it(`lead to a ${status} for ${target} with the host ${host}`, async () => {
        await using upstream = await serve(answers(200))
        await using proxy = await proxyTo(upstream, { hosts })
        const field = host === undefined ? '' : `host: ${host}\r\n`
        const version = host === undefined ? '1.0' : '1.1'
        const answer = await raw(
          proxy.server.port,
          `GET ${target} HTTP/${version}\r\n${field}connection: close\r\n\r\n`,
        )
        expect(statusOf(answer)).to.equal(status)
        expect(upstream.requests).to.have.length(status === 200 ? 1 : 0)
      })
    }
  })

  it('cannot hide a request in the body of another request', async () => {
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

  it('are refused by Node above its limit, such as 1 MB', async () => {
    await using upstream = await serve(answers(200))
    await using proxy = await proxyTo(upstream)
    const answer = await raw(proxy.server.port, rawGet('/', `last-event-id: ${'1'.repeat(2 ** 20)}`))
    // Node closes the connection with unread bytes, and the reset that follows may overtake the answer.
    if (answer !== '') expect(statusOf(answer)).to.equal(431)
    expect(upstream.requests).to.deep.equal([])
  })
})

function never(): never {
  throw new Error('no request')
}
