import { once } from 'node:events'
import { expect } from 'chai'
import { httpUpstream, relaySse, type UpstreamFactory } from '../../src/index.ts'
import { fast, lastIs, next, wire } from '../support/events.ts'
import { data, each } from '../support/meaning.ts'
import { dataOf, inEachMode, outcomeOf } from '../support/modes.ts'
import { answers, ends, freePort, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

/*
 * The HTML Standard's section on server-sent events (9.2), case by case, through the public library.
 *
 * What does not apply to a library on a server, and has no test here:
 * - 9.2.2 `withCredentials`, the CORS and credentials modes, the request's client and initiator: there is no origin.
 * - 9.2.2 `url` and the IDL attributes `onopen`, `onmessage`, `onerror`; 9.2.3 tasks and their source: `data`, `open`,
 *   `drop` and `error` of a Readable take their place.
 * - 9.2.3 "wait until the operating system reports that the network is back": Node is told nothing of the kind.
 * - 9.2.6 the event's `origin`, and DOM event dispatch.
 * - 9.2.7 cookies, limits on connections to one server, switching chunking off: for the author of the upstream.
 * - 9.2.8 connectionless push, 9.2.9 garbage collection, 9.2.10 advice for developer tools: for browsers.
 *
 * Where the library does otherwise on purpose; each has a test whose name says "differs":
 * - 9.2.2 408, 425, 429 and 5xx are met again, and so is a wrong content type once an event was passed on.
 * - 9.2.2 the last event ID can be given at the start.
 * - 9.2.3 a reconnection time is clamped to `minDelay`…`maxDelay`; attempts without progress are counted.
 * - 9.2.4 an id with control characters is not sent, as no header field may hold it.
 * - 9.2.6 the last event ID buffer outlives a connection: read to the letter, it would be empty on a new one, and the
 *   first event without an id would forget where to resume. Browsers keep it as well.
 * - 9.2.6 comments, and blocks with an id and no data, are passed on to clients.
 */

const options = { reconnect: fast, last: 'end' } as const

describe('HTML Standard, 9.2.1 Introduction, the examples', () => {
  each([
    [
      'messages of one and of two lines',
      'data: one line\n\ndata: two lines,\ndata: this being the second\n\n',
      data('one line', 'two lines,\nthis being the second'),
    ],
    [
      'event types separate events',
      'event: buy\ndata: 17\n\nevent: sell\ndata: 4\n\nevent: buy\ndata: 5\n\n',
      {
        blocks: [
          { event: 'buy', data: '17' },
          { event: 'sell', data: '4' },
          { event: 'buy', data: '5' },
        ],
      },
    ],
  ])
})

inEachMode('HTML Standard, 9.2.1 Introduction', ({ open }) => {
  it('event streams are always decoded as UTF-8, whatever the charset parameter says', async () => {
    await using server = await serve((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=iso-8859-1' })
      response.end('data: é日\n\ndata: end\n\n')
    })
    const source = open(httpUpstream(server.url), options)
    expect(await dataOf(source)).to.deep.equal(['é日', 'end'])
  })

  for (const status of [301, 307]) {
    it(`requests can be redirected with ${status}: the factory's part, which fetch does`, async () => {
      await using server = await serve((request, response) => {
        if (request.url === '/events') response.writeHead(status, { location: '/moved' }).end()
        else stream(response, wire(8, 'end')).end()
      })
      const source = open((context) => fetch(server.url, context), {
        ...options,
        lastEventId: '7',
      })
      expect(await dataOf(source)).to.deep.equal(['end'])
      const seen = server.requests.map(({ url, headers }) => `${url} ${headers['last-event-id']}`)
      expect(seen).to.deep.equal(['/events 7', '/moved 7'])
    })
  }

  it('clients reconnect when the connection is closed', async () => {
    await using server = await serveInTurn(ends(wire(1)), stays(wire(2, 'end')))
    const source = open(httpUpstream(server.url), options)
    expect(await dataOf(source)).to.deep.equal(['event 1', 'end'])
  })

  it('204 No Content tells a client to stop reconnecting', async () => {
    await using server = await serveInTurn(ends(wire(1)), answers(204))
    const source = open(httpUpstream(server.url), options)
    expect(await dataOf(source)).to.deep.equal(['event 1'])
    expect(server.requests).to.have.lengthOf(2)
  })
})

inEachMode('HTML Standard, 9.2.2 The EventSource interface', ({ open }) => {
  it('constructor: a URL that cannot be parsed is an error at once', () => {
    expect(() => httpUpstream('no URL')).to.throw(TypeError)
  })

  it('constructor: the last event ID string is initially empty, so that the first request has no Last-Event-ID', async () => {
    await using server = await serve(stays('data: end\n\n'))
    const source = open(httpUpstream(server.url), options)
    expect(source.lastEventId).to.equal('')
    await outcomeOf(source)
    expect(server.requests[0]?.headers).not.to.have.property('last-event-id')
  })

  it('constructor: differs: a last event ID can be given, and is sent with the first request', async () => {
    await using server = await serve(stays('data: end\n\n'))
    await outcomeOf(open(httpUpstream(server.url), { ...options, lastEventId: '7' }))
    expect(server.requests[0]?.headers).to.include({ 'last-event-id': '7' })
  })

  it('constructor: each request has Accept text/event-stream, and forbids caches', async () => {
    await using server = await serveInTurn(ends(wire(1)), stays(wire(2, 'end')))
    await outcomeOf(open(httpUpstream(server.url), options))
    for (const { headers } of server.requests) {
      expect(headers).to.include({ accept: 'text/event-stream', 'cache-control': 'no-cache' })
    }
    expect(server.requests).to.have.lengthOf(2)
  })

  it('end of body: a response that ends reestablishes the connection', async () => {
    await using server = await serveInTurn(ends(': nothing\n\n'), stays('data: end\n\n'))
    const source = open(httpUpstream(server.url), options)
    expect(await dataOf(source)).to.deep.equal(['end'])
    expect(source.stats.drops.end).to.equal(1)
  })

  it('response: an aborted network error fails the connection', async () => {
    await using server = await serve(stays(wire(1)))
    const controller = new AbortController()
    const source = open(httpUpstream(server.url), {
      ...options,
      signal: controller.signal,
    })
    source.once('data', () => controller.abort())
    const { error } = await outcomeOf(source)
    expect(error).to.have.property('name', 'AbortError')
    expect(server.requests).to.have.lengthOf(1)
  })

  it('response: any other network error reestablishes the connection', async () => {
    const port = await freePort()
    await using server = await serve(stays('data: end\n\n'))
    const urls = [`http://127.0.0.1:${port}/`, server.url]
    const source = open((context) => fetch(urls[context.attempt] ?? '', context), options)
    expect(await dataOf(source)).to.deep.equal(['end'])
    expect(source.stats.attempts).to.equal(2)
  })

  for (const status of [201, 202, 206, 300, 301, 302, 304, 307, 400, 401, 403, 404, 405, 410, 451]) {
    it(`response: the status ${status} is not 200 and fails the connection`, async () => {
      await using server = await serve(answers(status, { 'content-type': 'text/event-stream' }, wire(1)))
      const source = open(httpUpstream(server.url), options)
      const { data, error } = await outcomeOf(source)
      expect(error).to.include({ code: 'ERR_SSE_STATUS', statusCode: status })
      expect(data).to.deep.equal([])
      expect(server.requests).to.have.lengthOf(1)
    })
  }

  for (const status of [408, 425, 429, 500, 502, 503, 504]) {
    it(`response: differs: the status ${status} does not fail the connection`, async () => {
      await using server = await serveInTurn(answers(status), stays('data: end\n\n'))
      const source = open(httpUpstream(server.url), options)
      expect(await dataOf(source)).to.deep.equal(['end'])
    })
  }

  for (const type of ['text/plain', 'text/html', 'text/event-streamer', 'application/x-ndjson', undefined]) {
    it(`response: the content type ${type ?? '(none)'} fails the connection`, async () => {
      const headers = type === undefined ? {} : { 'content-type': type }
      await using server = await serve(answers(200, headers, wire(1)))
      const { data, error } = await outcomeOf(open(httpUpstream(server.url), options))
      expect(error).to.include({ code: 'ERR_SSE_CONTENT_TYPE' })
      expect(data).to.deep.equal([])
      expect(server.requests).to.have.lengthOf(1)
    })
  }

  it('response: differs: another content type after an event was passed on does not fail the connection', async () => {
    const page = answers(200, { 'content-type': 'text/html' }, '<p>back soon</p>')
    await using server = await serveInTurn(ends(wire(1)), page, stays(wire(2, 'end')))
    const source = open(httpUpstream(server.url), options)
    expect(await dataOf(source)).to.deep.equal(['event 1', 'end'])
  })

  for (const type of ['text/event-stream', 'TEXT/Event-Stream', 'text/event-stream;charset=utf-8;x="y"']) {
    it(`response: otherwise, as with ${type}, the connection is announced and the body interpreted`, async () => {
      await using server = await serve(answers(200, { 'content-type': type }, 'data: end\n\n'))
      const source = open(httpUpstream(server.url), options)
      const opened = next(source, 'open')
      expect(await dataOf(source)).to.deep.equal(['end'])
      expect(await opened).to.include({ attempt: 0, opens: 0 })
    })
  }

  it('readyState: CONNECTING, OPEN, CONNECTING again and CLOSED are states of the source', async () => {
    await using server = await serveInTurn(resets(wire(1)), stays('data: end\n\n'))
    const source = open(httpUpstream(server.url), options)
    const states: string[] = [source.state]
    for (const event of ['open', 'drop'] as const) source.on(event, () => states.push(source.state))
    await outcomeOf(source)
    states.push(source.state)
    expect(states).to.deep.equal(['connecting', 'open', 'waiting', 'open', 'ended'])
  })

  it('close(): aborts what is being fetched, and nothing is dispatched any more', async () => {
    await using server = await serve(stays(wire(1) + wire(2) + wire(3)))
    const source = open(httpUpstream(server.url), options)
    let seen = 0
    source.on('data', () => {
      seen++
      source.destroy()
    })
    await once(source, 'close')
    await until(
      () => server.sockets.size === 0,
      () => 'the connection is closed',
    )
    expect(seen).to.equal(1)
    expect(source.state).to.equal('ended')
    expect(server.requests).to.have.lengthOf(1)
  })
})

inEachMode('HTML Standard, 9.2.3 Processing model', ({ open }) => {
  it('announce the connection: open comes before the first event of each connection', async () => {
    await using server = await serveInTurn(ends(wire(1)), stays(wire(2, 'end')))
    const order: string[] = []
    const source = open(httpUpstream(server.url), options)
    source.on('open', ({ opens }) => order.push(`open ${opens}`))
    source.on('data', () => order.push('data'))
    await until(
      () => order.length === 4,
      () => String(order),
    )
    source.destroy()
    expect(order).to.deep.equal(['open 0', 'data', 'open 1', 'data'])
  })

  it('reestablish, step 1: the reader gets the event before the wait begins', async () => {
    await using server = await serveInTurn(resets(wire(1)), stays('data: end\n\n'))
    const order: string[] = []
    const source = open(httpUpstream(server.url), options)
    for (const event of ['drop', 'retry', 'open'] as const) source.on(event, () => order.push(event))
    await outcomeOf(source)
    expect(order).to.deep.equal(['open', 'drop', 'retry', 'open'])
  })

  it('reestablish, step 2: the delay is the reconnection time, at first a default', async () => {
    await using server = await serve(resets(wire(1)))
    const source = open(httpUpstream(server.url), { reconnect: { jitter: 0 } })
    source.resume()
    expect(await next(source, 'retry')).to.include({ delay: 1000, source: 'backoff' })
    source.destroy()
  })

  it('reestablish, step 2: the delay is the reconnection time that the stream has set', async () => {
    await using server = await serve(resets(`retry: 1234\n${wire(1)}`))
    const source = open(httpUpstream(server.url), { reconnect: { jitter: 0 } })
    source.resume()
    expect(await next(source, 'retry')).to.include({ delay: 1234, source: 'retry' })
    source.destroy()
  })

  for (const [time, delay] of [
    ['0', 100],
    ['99999999999', 300_000],
  ] as const) {
    it(`reestablish, step 2: differs: a reconnection time of ${time} is taken for ${delay}`, async () => {
      await using server = await serve(resets(`retry: ${time}\n${wire(1)}`))
      const source = open(httpUpstream(server.url), { reconnect: { jitter: 0 } })
      source.resume()
      expect(await next(source, 'retry')).to.include({ delay, source: 'retry' })
      source.destroy()
    })
  }

  it('reestablish, step 3: the delay grows while attempts fail', async () => {
    await using server = await serveInTurn(
      resets(wire(1)),
      answers(503),
      answers(503),
      answers(503),
      stays('data: end\n\n'),
    )
    const source = open(httpUpstream(server.url), options)
    const delays: number[] = []
    source.on('retry', ({ delay }) => delays.push(delay))
    await outcomeOf(source)
    expect(delays).to.deep.equal([1, 2, 4, 8])
  })

  it('reestablish, step 3: differs: attempts without progress are counted, and in the end the stream fails', async () => {
    await using server = await serve(ends(': nothing\n\n'))
    const reconnect = { ...fast, maxRetries: 3 }
    const { error } = await outcomeOf(open(httpUpstream(server.url), { reconnect }))
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(server.requests).to.have.lengthOf(1 + 3)
  })

  it('reestablish, step 5: a stream that was closed during the wait makes no further request', async () => {
    await using server = await serve(resets(wire(1)))
    const source = open(httpUpstream(server.url), { reconnect: { baseDelay: 60_000 } })
    source.resume()
    await next(source, 'retry')
    source.destroy()
    await once(source, 'close')
    expect(server.requests).to.have.lengthOf(1)
  })

  it('reestablish, step 5: Last-Event-ID is set where the last event ID string is not empty', async () => {
    await using server = await serveInTurn(resets(wire(1)), resets(wire(2)), stays('data: end\n\n'))
    await outcomeOf(open(httpUpstream(server.url), options))
    expect(idsSentTo(server)).to.deep.equal([undefined, '1', '2'])
  })

  it('reestablish, step 5: Last-Event-ID is not set where the last event ID string is empty', async () => {
    await using server = await serveInTurn(
      resets('data: x\n\n'),
      resets(wire(1)),
      resets('id\ndata: x\n\n'),
      stays('data: end\n\n'),
    )
    await outcomeOf(open(httpUpstream(server.url), options))
    expect(idsSentTo(server)).to.deep.equal([undefined, undefined, '1', undefined])
  })

  it('fail the connection: the reader gets one error, and no further attempt is made', async () => {
    await using server = await serveInTurn(answers(404), stays('data: end\n\n'))
    const source = open(httpUpstream(server.url), options)
    const errors: unknown[] = []
    source.on('error', (error) => errors.push(error)).resume()
    await until(
      () => source.closed,
      () => 'it closes',
    )
    expect(errors).to.have.lengthOf(1)
    expect(source.state).to.equal('ended')
    expect(source.read()).to.equal(null)
    expect(server.requests).to.have.lengthOf(1)
  })

  for (const [name, script] of [
    ['is closed gracefully', ends],
    ['is closed unexpectedly', resets],
  ] as const) {
    it(`a connection that ${name} is reestablished`, async () => {
      await using server = await serveInTurn(script(wire(1)), stays(wire(2, 'end')))
      const source = open(httpUpstream(server.url), options)
      expect(await dataOf(source)).to.deep.equal(['event 1', 'end'])
    })
  }
})

function idsSentTo({ requests }: { readonly requests: readonly { headers: NodeJS.Dict<unknown> }[] }) {
  return requests.map(({ headers }) => headers['last-event-id'])
}

inEachMode('HTML Standard, 9.2.4 The Last-Event-ID header', ({ open }) => {
  const clients: readonly (readonly [string, (url: string) => UpstreamFactory])[] = [
    ['node:http', (url) => httpUpstream(url)],
    ['fetch', (url) => (context) => fetch(url, context)],
  ]
  for (const [client, dial] of clients) {
    for (const id of ['7', 'a, b; c="d"', 'tab\there', 'é', '日本', '😀', '\ufeff']) {
      it(`its value is the id ${JSON.stringify(id)}, UTF-8 encoded, through ${client}`, async () => {
        await using server = await serveInTurn(resets(wire(id, 'x')), stays('data: end\n\n'))
        await outcomeOf(open(dial(server.url), options))
        const value = String(server.requests[1]?.headers['last-event-id'])
        expect(Buffer.from(value, 'latin1').toString()).to.equal(id)
      })
    }
  }

  it('differs: an id with other control characters is not a header value: it is not sent, and a gap is reported', async () => {
    await using server = await serveInTurn(resets(wire('a\x01b', 'x')), stays('data: end\n\n'))
    const source = open(httpUpstream(server.url), options)
    const gap = next(source, 'gap')
    await outcomeOf(source)
    expect(idsSentTo(server)).to.deep.equal([undefined, undefined])
    expect(await gap).to.include({ cursor: 'a\x01b' })
  })

  it('the upstream of a client that sends one starts there', async () => {
    await using upstream = await serve(ends(wire('日9', 'end')))
    await using gateway = await serve((request, response) => {
      relaySse(request, response, httpUpstream(upstream.url), { isTerminal: lastIs('end') }).catch((error) =>
        response.destroy(error),
      )
    })
    const client = open(httpUpstream(gateway.url), { ...options, lastEventId: '日8' })
    expect(await dataOf(client)).to.deep.equal(['end'])
    expect(Buffer.from(String(idsSentTo(upstream)), 'latin1').toString()).to.equal('日8')
  })
})
