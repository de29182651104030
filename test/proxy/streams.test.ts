import zlib from 'node:zlib'
import { expect } from 'chai'
import type { ProxyRelayOptions } from '../../src/index.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { ask, lines, proxyTo, reports, sharingProxyTo, sse } from '../support/proxy.ts'
import { answers, ends, resets, serve, serveInTurn, serveRaw, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Fields that do not apply to the rest of a stream. */
const conditions = {
  'if-match': '"2"',
  'if-none-match': '"1"',
  'if-modified-since': 'Thu, 01 Jan 1970 00:00:00 GMT',
  'if-unmodified-since': 'Thu, 01 Jan 1970 00:00:01 GMT',
  'if-range': '"1"',
  range: 'bytes=0-',
}

describe('event streams of a GET', () => {
  it('outlive drops; the same request is sent again, with the last event ID', async () => {
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
      ...conditions,
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
    const [first, ...others] = upstream.requests
    expect(first?.headers).to.include(conditions)
    for (const { headers } of others) expect(headers).not.to.have.any.keys(conditions)
    expect(proxy.errors).to.deep.equal([])
  })

  it("have the fields of the upstream's first answer, except the fields about its body", async () => {
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
      'content-type': 'text/event-stream;charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'access-control-allow-origin': '*',
      'x-custom': '1',
    })
    expect(headers['set-cookie']).to.deep.equal(['a=1', 'b=2'])
    expect(headers).not.to.have.any.keys('content-encoding', 'content-length')
    expect(headers['keep-alive']).not.to.equal('timeout=99')
    expect(headers.date).not.to.include('1970')
  })

  for (const fields of [
    'content-type: application/json, text/event-stream; charset=utf-8\r\n',
    'content-type: application/json\r\ncontent-type: text/event-stream; charset=utf-8\r\n',
  ]) {
    it(`have the last valid content type alone: ${JSON.stringify(fields)}`, async () => {
      await using upstream = await serveRaw((socket) =>
        socket.write(`HTTP/1.1 200 OK\r\n${fields}\r\n${wire(1, 'end')}`),
      )
      for (const open of [proxyTo, sharingProxyTo]) {
        await using proxy = await open(upstream, { relay: { isTerminal: lastIs('end') } })
        const client = await ask(proxy.url, { headers: sse })
        expect(await client.over).to.equal('end')
        expect(lines(client.response, 'content-type')).to.deep.equal(['text/event-stream; charset=utf-8'])
      }
    })
  }

  it('are passed on unchanged in a content coding that cannot be decoded', async () => {
    await using upstream = await serve(
      answers(200, { 'content-type': 'text/event-stream', 'content-encoding': 'x-odd' }, 'bytes'),
    )
    await using proxy = await proxyTo(upstream)
    const client = await ask(proxy.url)
    expect(await client.over).to.equal('end')
    expect(client.text).to.equal('bytes')
    expect(client.response.headers['content-encoding']).to.equal('x-odd')
  })

  for (const [name, query, headers, sent, gaps] of [
    ['the header', '', { 'last-event-id': '7' }, '7', 0],
    ['the query', '?lastEventId=7', {}, '7', 0],
    ['no id for a query with CR', '?lastEventId=7%0D', {}, undefined, 0],
    ['no id, with a gap, for a query with a control character', '?lastEventId=7%01', {}, undefined, 1],
    ['no id, with a gap, for a query with outer spaces', '?lastEventId=%207', {}, undefined, 1],
  ] as const) {
    it(`start from ${name}`, async () => {
      await using upstream = await serveInTurn(ends(':\n\n'), stays(wire(8, 'end')))
      const warnings: string[] = []
      const ignore = () => {}
      const warn = (_: object, message: string) => void warnings.push(message)
      await using proxy = await proxyTo(upstream, {
        relay: { isTerminal: lastIs('end'), statusEvents: true },
        logger: { debug: ignore, info: ignore, warn, error: ignore },
      })
      const client = await ask(`${proxy.url}/${query}`, { headers: { ...sse, ...headers } })
      await client.over
      expect(client.text).to.include(wire(8, 'end'))
      // One for each connection.
      expect(client.text.match(/"status":"gap"/g) ?? []).to.have.length(2 * gaps)
      expect(warnings.filter((message) => message === 'events may be missing')).to.have.length(2 * gaps)
      expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([sent, sent])
      if (gaps > 0) expect(upstream.requests.map(({ url }) => url)).to.deep.equal(['/', '/'])
    })
  }

  for (const [status, headers, asked] of [
    [401, { 'www-authenticate': 'Bearer' }, sse],
    [404, { 'content-type': 'text/event-stream' }, sse],
    [503, { 'retry-after': '30', 'x-custom': '1' }, {}],
    [429, { 'retry-after': '30', 'content-type': 'text/event-stream' }, { accept: 'application/json' }],
  ] as const) {
    it(`are not opened for a ${status}, which is passed on unchanged`, async () => {
      await using upstream = await serve(answers(status, headers, 'the reason'))
      await using proxy = await proxyTo(upstream)
      const client = await ask(proxy.url, { headers: asked })
      expect(await client.over).to.equal('end')
      expect([client.response.statusCode, client.text]).to.deep.equal([status, 'the reason'])
      expect(client.response.headers).to.include(headers)
      expect(upstream.requests).to.have.length(1)
    })
  }

  for (const [sent, asked, id] of [
    ['/?lastEventId=7', '/', '7'],
    ['/?LASTEVENTID=7&a=%20b+c', '/?a=%20b+c', '7'],
    ['/?a&last_event_id=7&&b=', '/?a&&b=', '7'],
    ['/?last%5fevent%5Fid=%C3%BC', '/', '\u00c3\u00bc'],
    ['/?Last-Event-Id=6&lastEventID=7&x=lastEventId=1', '/?x=lastEventId=1', '6'],
    ['/lastEventId=7?lastEventIds=7?lastEventId=7', '/lastEventId=7?lastEventIds=7?lastEventId=7', undefined],
  ] as const) {
    it(`take the last event ID out of the URL and send it in its field: ${sent}`, async () => {
      await using upstream = await serveInTurn(resets(wire(8)), resets(wire(9)), stays(wire(10, 'end')))
      await using proxy = await proxyTo(upstream, { relay: { isTerminal: lastIs('end') } })
      const client = await ask(`${new URL(proxy.url).origin}${sent}`, { headers: sse })
      expect(await client.over).to.equal('end')
      expect(upstream.requests.map(({ url }) => url)).to.deep.equal([asked, asked, asked])
      expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([id, '8', '9'])
    })
  }

  it('prefer the field to the URL when both have a last event ID', async () => {
    await using upstream = await serve(stays(wire(9, 'end')))
    await using proxy = await proxyTo(upstream, { relay: { isTerminal: lastIs('end') } })
    const client = await ask(`${proxy.url}/?lastEventId=7`, { headers: { ...sse, 'last-event-id': '8' } })
    expect(await client.over).to.equal('end')
    expect(upstream.requests.map(({ url }) => url)).to.deep.equal(['/'])
    expect(upstream.requests[0]?.headers['last-event-id']).to.equal('8')
  })

  it('leave a URL without a last event ID unchanged', async () => {
    await using upstream = await serveInTurn(resets(wire(8)), stays(wire(9, 'end')))
    await using proxy = await proxyTo(upstream, { relay: { isTerminal: lastIs('end') } })
    const client = await ask(proxy.url, { path: '/a?', headers: { ...sse, 'last-event-id': '7' } })
    expect(await client.over).to.equal('end')
    expect(upstream.requests.map(({ url }) => url)).to.deep.equal(['/a?', '/a?'])
  })

  it('take it out only to reconnect when the request does not ask for an event stream', async () => {
    await using upstream = await serveInTurn(resets(wire(8)), stays(wire(9, 'end')))
    await using proxy = await proxyTo(upstream, { relay: { isTerminal: lastIs('end') } })
    const client = await ask(`${proxy.url}/?lastEventId=7`)
    expect(await client.over).to.equal('end')
    expect(upstream.requests.map(({ url }) => url)).to.deep.equal(['/?lastEventId=7', '/'])
    expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([undefined, '8'])
  })

  it('leave it in the URL of any other request, and what is not an id', async () => {
    await using upstream = await serve(ends(wire(1)))
    await using proxy = await proxyTo(upstream)
    for (const method of ['POST', 'HEAD'])
      await (await ask(`${proxy.url}/?lastEventId=7`, { method, headers: sse })).over
    await (await ask(`${proxy.url}/?lastEventId=7%0D`, { headers: sse })).over
    const [post, head, noId] = upstream.requests
    expect([post?.url, head?.url, noId?.url]).to.deep.equal([
      '/?lastEventId=7',
      '/?lastEventId=7',
      '/?lastEventId=7%0D',
    ])
  })

  for (const [accept, script, text, over, requests] of [
    ['application/json', ends('data: 1\n\n'), 'data: 1\n\n', 'end', 1],
    ['application/json', resets('data: 1\n\n'), 'data: 1\n\n', 'aborted', 1],
    ['application/json', ends(wire(1)), wire(1) + wire(2, 'end'), 'end', 2],
    ['application/json', resets(wire(1)), wire(1) + wire(2, 'end'), 'end', 2],
    ['text/event-stream', ends('data: 1\n\n'), `data: 1\n\n${wire(2, 'end')}`, 'end', 2],
    ['*/*', ends('data: 1\n\n'), `data: 1\n\n${wire(2, 'end')}`, 'end', 2],
    ['*/*', resets('data: 1\n\n'), `data: 1\n\n${wire(2, 'end')}`, 'end', 2],
  ] as const) {
    it(`are requested ${requests === 1 ? 'once' : 'twice'} for a client that accepts ${accept}: ${JSON.stringify(text)}`, async () => {
      await using upstream = await serveInTurn(script, stays(wire(2, 'end')))
      const relay = { isTerminal: lastIs('end'), endWithoutTerminal: 'end' } as const
      await using proxy = await proxyTo(upstream, { relay })
      const client = await ask(proxy.url, { headers: { accept } })
      expect(await client.over).to.equal(over)
      expect(client.text).to.equal(text)
      expect(upstream.requests).to.have.length(requests)
    })
  }

  for (const [clientReconnects, accept, script, text, requests] of [
    [true, 'application/json', ends('data: 1\n\n'), `data: 1\n\n${wire(2, 'end')}`, 2],
    [true, 'application/json', resets('data: 1\n\n'), `data: 1\n\n${wire(2, 'end')}`, 2],
    [false, 'application/json', ends('data: 1\n\n'), 'data: 1\n\n', 1],
    [false, 'text/event-stream', ends('data: 1\n\n'), `data: 1\n\n${wire(2, 'end')}`, 2],
  ] as const) {
    it(`are requested ${requests === 1 ? 'once' : 'twice'} with clientReconnects ${clientReconnects} for a client that accepts ${accept}: ${JSON.stringify(text)}`, async () => {
      await using upstream = await serveInTurn(script, stays(wire(2, 'end')))
      const relay = { isTerminal: lastIs('end'), endWithoutTerminal: 'end', clientReconnects } as const
      await using proxy = await proxyTo(upstream, { relay })
      const client = await ask(proxy.url, { headers: { accept } })
      expect(await client.over).to.equal('end')
      expect(client.text).to.equal(text)
      expect(upstream.requests).to.have.length(requests)
    })
  }

  it('are requested according to the option resume, for every kind of client', async () => {
    await using upstream = await serveInTurn(ends('data: 1\n\n'), stays(wire(2, 'end')))
    await using proxy = await proxyTo(upstream, { relay: { isTerminal: lastIs('end'), resume: 'always' } })
    const client = await ask(proxy.url, { headers: { accept: 'application/json' } })
    expect(await client.over).to.equal('end')
    expect(client.text).to.equal(`data: 1\n\n${wire(2, 'end')}`)
  })

  for (const [reason, method, status, fields] of [
    [undefined, 'GET', 200, {}],
    ['method POST', 'POST', 200, {}],
    ['a body', 'POST', 200, {}],
    ['a body', 'GET', 200, {}],
    ['method HEAD', 'HEAD', 200, {}],
    ['status 203', 'GET', 203, {}],
    ['status 404', 'GET', 404, {}],
    ['content-encoding x-odd', 'GET', 200, { 'content-encoding': 'x-odd' }],
    [undefined, 'GET', 200, { 'content-type': 'text/plain' }],
    [undefined, 'GET', 204, { 'content-type': 'text/plain' }],
  ] as const) {
    it(`are logged when they are passed on once, and other answers are not: ${reason ?? `a ${status} of ${fields['content-type']}`}`, async () => {
      const lines: unknown[] = []
      const note = (fields: object, message: string) => void lines.push([message, fields])
      const ignore = () => {}
      await using upstream = await serve(
        answers(status, { 'content-type': 'text/event-stream', ...fields }, wire(1, 'end')),
      )
      await using proxy = await proxyTo(upstream, {
        relay: { isTerminal: lastIs('end') },
        logger: { debug: ignore, info: note, warn: ignore, error: ignore },
      })
      const body = reason === 'a body' ? 'x' : ''
      const headers = { 'content-length': body.length }
      await (await ask(`${proxy.url}/?key=secret`, { method, headers }, body)).over
      const line = ['event stream passed on once', { method, path: '/', reason }]
      expect(lines).to.deep.equal(reason === undefined ? [] : [line])
    })
  }

  it('fail on a redirect when they reconnect, and send credentials to no other host', async () => {
    await using other = await serve(stays(wire(2)))
    await using upstream = await serveInTurn(resets(wire(1)), answers(307, { location: other.url }))
    await using proxy = await proxyTo(upstream)
    const client = await ask(proxy.url, { headers: { ...sse, authorization: 'Bearer x' } })
    expect(await client.over).to.equal('aborted')
    expect(other.requests).to.deep.equal([])
    await reports(proxy, 'ERR_SSE_STATUS')
  })

  it('survive an upstream that is killed and restarts on its port', async () => {
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

  it('resume without backoff when a kept-alive connection turns out to be closed', async () => {
    await using upstream = await serve((req, res) => {
      const n = upstream.requests.length
      // The second request comes over the first one's connection.
      if (n === 2) req.socket.resetAndDestroy()
      else (n === 1 ? ends(wire(1)) : stays(wire(2, 'end')))(req, res)
    })
    const retries: unknown[] = []
    const note = (fields: object, text: string) => text === 'upstream retry' && retries.push(fields)
    await using proxy = await proxyTo(upstream, {
      relay: { isTerminal: lastIs('end') },
      logger: { debug: note, info: note, warn: note, error: note },
    })
    const client = await ask(proxy.url, { headers: sse })
    expect(await client.over).to.equal('end')
    expect(client.text).to.equal(wire(1) + wire(2, 'end'))
    expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([
      undefined,
      '1',
      '1',
    ])
    expect(retries).to.have.length(1)
    expect(retries[0]).to.include({ source: 'clean-end' })
  })

  it('are not opened for a HEAD', async () => {
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
    ['a reset after the first event', resets(wire(1)), wire(1), 'aborted'],
    ['a clean end before the first event', ends(), '', 'end'],
    ['a clean end after the first event', ends(wire(1)), wire(1), 'end'],
  ] as const) {
    for (const method of ['POST', 'PUT', 'GET'] as const) {
      it(`are never requested twice: ${name}, ${method}`, async () => {
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

  it('break the connection when they end before the terminal event', async () => {
    for (const script of [ends(), ends(wire(1))]) {
      await using upstream = await serve(script)
      await using proxy = await proxyTo(upstream, { relay: { ...relay, isTerminal: lastIs('end') } })
      const client = await ask(proxy.url, { method: 'POST' })
      expect(await client.over).to.equal('aborted')
      expect(upstream.requests).to.have.length(1)
    }
  })
})
