import { once } from 'node:events'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import {
  createResilientSseSource,
  httpUpstream,
  relaySse,
  type SseEvent,
  type UpstreamContext,
  type UpstreamFactory,
} from '../../src/index.ts'
import { dataOf, drain, fast, lastIs, next, textOf, wire } from '../support/events.ts'
import { chunksOf, type Item, itemsOf, plain } from '../support/model.ts'
import { answers, ends, freePort, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { holdTime } from '../support/time.ts'
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

const objects = { objectMode: true, reconnect: fast, isTerminal: lastIs('end') } as const

/** What a stream says: blocks with data or an id, comments, and the last event ID that it leaves behind. */
interface Meaning {
  readonly blocks: readonly SseEvent[]
  readonly comments?: readonly string[]
  readonly lastEventId?: string
}

/** A stream of these chunks, and on the next attempt the word that there is no more; notes what attempts are told. */
function onceThenNoMore(chunks: readonly Buffer[], told: UpstreamContext[]): UpstreamFactory {
  return async (context) => {
    told.push(context)
    if (told.length > 1) return { statusCode: 204, headers: {}, body: Readable.from([]) }
    return Readable.from(chunks)
  }
}

/** Reads bytes as object mode and as byte mode do, whole and byte by byte. */
async function expectMeaning(stream: string | Uint8Array, meaning: Meaning): Promise<void> {
  const bytes = Buffer.from(stream)
  const { blocks, comments = [], lastEventId = '' } = meaning
  for (const [chunking, chunks] of [
    ['whole', [bytes]],
    ['byte by byte', chunksOf(bytes, 'everywhere')],
  ] as const) {
    const told: UpstreamContext[] = []
    const heard: string[] = []
    const source = createResilientSseSource(onceThenNoMore(chunks, told), {
      objectMode: true,
      reconnect: fast,
    }).on('comment', (text) => heard.push(text))
    const events = await drain(source)
    expect(events.error).to.equal(undefined)
    expect(events.chunks.map(plain), `events, ${chunking}`).to.deep.equal(blocks)
    expect(heard, `comments, ${chunking}`).to.deep.equal(comments)
    expect(source.lastEventId, `lastEventId, ${chunking}`).to.equal(lastEventId)
    expect(told[1]?.lastEventId, `lastEventId of the next attempt, ${chunking}`).to.equal(lastEventId)

    const factory = onceThenNoMore(chunks, [])
    const out = await drain(createResilientSseSource(factory, { reconnect: fast }))
    expect(out.error).to.equal(undefined)
    expect(meaningOf(Buffer.concat(out.chunks)), `bytes, ${chunking}`).to.deep.equal({ blocks, comments })
  }
}

function meaningOf(bytes: Buffer): Meaning {
  const items: Item[] = itemsOf(bytes)
  return {
    blocks: items.flatMap((item) => ('block' in item ? [item.block] : [])),
    comments: items.flatMap((item) => ('comment' in item ? [item.comment] : [])),
  }
}

type Case = readonly [name: string, stream: string | Uint8Array, meaning: Meaning]

function each(cases: readonly Case[]): void {
  for (const [name, stream, meaning] of cases) it(name, () => expectMeaning(stream, meaning))
}

const data = (...values: string[]): Meaning => ({ blocks: values.map((value) => ({ data: value })) })
const nothing: Meaning = { blocks: [] }
const mark = Buffer.from([0xef, 0xbb, 0xbf])
const withBytes = (...parts: (string | readonly number[] | Buffer)[]) =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))))

describe('HTML Standard, 9.2.1 Introduction', () => {
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

  it('event streams are always decoded as UTF-8, whatever the charset parameter says', async () => {
    await using server = await serve((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=iso-8859-1' })
      response.end('data: é日\n\ndata: end\n\n')
    })
    const source = createResilientSseSource(httpUpstream(server.url), objects)
    expect(await dataOf(source)).to.deep.equal(['é日', 'end'])
  })

  for (const status of [301, 307]) {
    it(`requests can be redirected with ${status}: the factory's part, which fetch does`, async () => {
      await using server = await serve((request, response) => {
        if (request.url === '/events') response.writeHead(status, { location: '/moved' }).end()
        else stream(response, wire(8, 'end')).end()
      })
      const source = createResilientSseSource((context) => fetch(server.url, context), {
        ...objects,
        lastEventId: '7',
      })
      expect(await dataOf(source)).to.deep.equal(['end'])
      const seen = server.requests.map(({ url, headers }) => `${url} ${headers['last-event-id']}`)
      expect(seen).to.deep.equal(['/events 7', '/moved 7'])
    })
  }

  it('clients reconnect when the connection is closed', async () => {
    await using server = await serveInTurn(ends(wire(1)), ends(wire(2, 'end')))
    const source = createResilientSseSource(httpUpstream(server.url), objects)
    expect(await dataOf(source)).to.deep.equal(['event 1', 'end'])
  })

  it('204 No Content tells a client to stop reconnecting', async () => {
    await using server = await serveInTurn(ends(wire(1)), answers(204))
    const source = createResilientSseSource(httpUpstream(server.url), objects)
    expect(await dataOf(source)).to.deep.equal(['event 1'])
    expect(server.requests).to.have.lengthOf(2)
  })
})

describe('HTML Standard, 9.2.2 The EventSource interface', () => {
  it('constructor: a URL that cannot be parsed is an error at once', () => {
    expect(() => httpUpstream('no URL')).to.throw(TypeError)
  })

  it('constructor: the last event ID string is initially empty, so that the first request has no Last-Event-ID', async () => {
    await using server = await serve(ends('data: end\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), objects)
    expect(source.lastEventId).to.equal('')
    await drain(source)
    expect(server.requests[0]?.headers).not.to.have.property('last-event-id')
  })

  it('constructor: differs: a last event ID can be given, and is sent with the first request', async () => {
    await using server = await serve(ends('data: end\n\n'))
    await drain(createResilientSseSource(httpUpstream(server.url), { ...objects, lastEventId: '7' }))
    expect(server.requests[0]?.headers).to.include({ 'last-event-id': '7' })
  })

  it('constructor: Accept is text/event-stream, and caches are told to keep out, on each request', async () => {
    await using server = await serveInTurn(ends(wire(1)), ends(wire(2, 'end')))
    await drain(createResilientSseSource(httpUpstream(server.url), objects))
    for (const { headers } of server.requests) {
      expect(headers).to.include({ accept: 'text/event-stream', 'cache-control': 'no-cache' })
    }
    expect(server.requests).to.have.lengthOf(2)
  })

  it('end of body: a response that ends reestablishes the connection', async () => {
    await using server = await serveInTurn(ends(': nothing\n\n'), ends('data: end\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), objects)
    expect(await dataOf(source)).to.deep.equal(['end'])
    expect(source.stats.drops.end).to.equal(1)
  })

  it('response: an aborted network error fails the connection', async () => {
    await using server = await serve(stays(wire(1)))
    const controller = new AbortController()
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      signal: controller.signal,
    })
    source.once('data', () => controller.abort())
    const { error } = await drain(source)
    expect(error).to.have.property('name', 'AbortError')
    expect(server.requests).to.have.lengthOf(1)
  })

  it('response: any other network error reestablishes the connection', async () => {
    const port = await freePort()
    await using server = await serve(ends('data: end\n\n'))
    const urls = [`http://127.0.0.1:${port}/`, server.url]
    const source = createResilientSseSource((context) => fetch(urls[context.attempt] ?? '', context), objects)
    expect(await dataOf(source)).to.deep.equal(['end'])
    expect(source.stats.attempts).to.equal(2)
  })

  for (const status of [201, 202, 206, 300, 301, 302, 304, 307, 400, 401, 403, 404, 405, 410, 451]) {
    it(`response: the status ${status} is not 200 and fails the connection`, async () => {
      await using server = await serve(answers(status, { 'content-type': 'text/event-stream' }, wire(1)))
      const source = createResilientSseSource(httpUpstream(server.url), objects)
      const { chunks, error } = await drain(source)
      expect(error).to.include({ code: 'ERR_SSE_STATUS', statusCode: status })
      expect(chunks).to.deep.equal([])
      expect(server.requests).to.have.lengthOf(1)
    })
  }

  for (const status of [408, 425, 429, 500, 502, 503, 504]) {
    it(`response: differs: the status ${status} does not fail the connection`, async () => {
      await using server = await serveInTurn(answers(status), ends('data: end\n\n'))
      const source = createResilientSseSource(httpUpstream(server.url), objects)
      expect(await dataOf(source)).to.deep.equal(['end'])
    })
  }

  for (const type of ['text/plain', 'text/html', 'text/event-streamer', 'application/x-ndjson', undefined]) {
    it(`response: the content type ${type ?? '(none)'} fails the connection`, async () => {
      const headers = type === undefined ? {} : { 'content-type': type }
      await using server = await serve(answers(200, headers, wire(1)))
      const { chunks, error } = await drain(createResilientSseSource(httpUpstream(server.url), objects))
      expect(error).to.include({ code: 'ERR_SSE_CONTENT_TYPE' })
      expect(chunks).to.deep.equal([])
      expect(server.requests).to.have.lengthOf(1)
    })
  }

  it('response: differs: another content type after an event was passed on does not fail the connection', async () => {
    const page = answers(200, { 'content-type': 'text/html' }, '<p>back soon</p>')
    await using server = await serveInTurn(ends(wire(1)), page, ends(wire(2, 'end')))
    const source = createResilientSseSource(httpUpstream(server.url), objects)
    expect(await dataOf(source)).to.deep.equal(['event 1', 'end'])
  })

  for (const type of ['text/event-stream', 'TEXT/Event-Stream', 'text/event-stream;charset=utf-8;x="y"']) {
    it(`response: otherwise, as with ${type}, the connection is announced and the body interpreted`, async () => {
      await using server = await serve(answers(200, { 'content-type': type }, 'data: end\n\n'))
      const source = createResilientSseSource(httpUpstream(server.url), objects)
      const opened = next(source, 'open')
      expect(await dataOf(source)).to.deep.equal(['end'])
      expect(await opened).to.include({ attempt: 0, opens: 0 })
    })
  }

  it('readyState: CONNECTING, OPEN, CONNECTING again and CLOSED are states of the source', async () => {
    await using server = await serveInTurn(resets(wire(1)), ends('data: end\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), objects)
    const states: string[] = [source.state]
    for (const event of ['open', 'drop'] as const) source.on(event, () => states.push(source.state))
    await drain(source)
    states.push(source.state)
    expect(states).to.deep.equal(['connecting', 'open', 'waiting', 'open', 'ended'])
  })

  it('close(): aborts what is being fetched, and nothing is dispatched any more', async () => {
    await using server = await serve(stays(wire(1) + wire(2) + wire(3)))
    const source = createResilientSseSource(httpUpstream(server.url), objects)
    const seen: unknown[] = []
    source.on('data', (event) => {
      seen.push(event.data)
      source.destroy()
    })
    await once(source, 'close')
    await until(
      () => server.sockets.size === 0,
      () => 'the connection is closed',
    )
    expect(seen).to.deep.equal(['event 1'])
    expect(source.state).to.equal('ended')
    expect(server.requests).to.have.lengthOf(1)
  })
})

describe('HTML Standard, 9.2.3 Processing model', () => {
  it('announce the connection: open comes before the first event of each connection', async () => {
    await using server = await serveInTurn(ends(wire(1)), ends(wire(2, 'end')))
    const order: unknown[] = []
    const source = createResilientSseSource(httpUpstream(server.url), objects)
      .on('open', ({ opens }) => order.push(`open ${opens}`))
      .on('data', (event) => order.push(event.data))
    await once(source, 'end')
    expect(order).to.deep.equal(['open 0', 'event 1', 'open 1', 'end'])
  })

  it('reestablish, step 1: the reader is told before the wait begins', async () => {
    await using server = await serveInTurn(resets(wire(1)), ends('data: end\n\n'))
    const order: string[] = []
    const source = createResilientSseSource(httpUpstream(server.url), objects)
    for (const event of ['drop', 'retry', 'open'] as const) source.on(event, () => order.push(event))
    await drain(source)
    expect(order).to.deep.equal(['open', 'drop', 'retry', 'open'])
  })

  it('reestablish, step 2: the delay is the reconnection time, at first a default', async () => {
    await using server = await serve(resets(wire(1)))
    const source = createResilientSseSource(httpUpstream(server.url), { reconnect: { jitter: 0 } })
    source.resume()
    expect(await next(source, 'retry')).to.include({ delay: 1000, source: 'backoff' })
    source.destroy()
  })

  it('reestablish, step 2: the delay is the reconnection time that the stream has set', async () => {
    await using server = await serve(resets(`retry: 1234\n${wire(1)}`))
    const source = createResilientSseSource(httpUpstream(server.url), { reconnect: { jitter: 0 } })
    source.resume()
    expect(await next(source, 'retry')).to.include({ delay: 1234, source: 'retry' })
    source.destroy()
  })

  for (const [time, delay] of [
    ['0', 100],
    ['99999999999', 30_000],
  ] as const) {
    it(`reestablish, step 2: differs: a reconnection time of ${time} is taken for ${delay}`, async () => {
      await using server = await serve(resets(`retry: ${time}\n${wire(1)}`))
      const source = createResilientSseSource(httpUpstream(server.url), { reconnect: { jitter: 0 } })
      source.resume()
      expect(await next(source, 'retry')).to.include({ delay, source: 'retry' })
      source.destroy()
    })
  }

  it('reestablish, step 3: it waits some more while attempts fail', async () => {
    await using server = await serveInTurn(
      resets(wire(1)),
      answers(503),
      answers(503),
      answers(503),
      ends('data: end\n\n'),
    )
    const source = createResilientSseSource(httpUpstream(server.url), objects)
    const delays: number[] = []
    source.on('retry', ({ delay }) => delays.push(delay))
    await drain(source)
    expect(delays).to.deep.equal([1, 2, 4, 8])
  })

  it('reestablish, step 3: differs: attempts without progress are counted, and in the end the stream fails', async () => {
    await using server = await serve(ends(': nothing\n\n'))
    const reconnect = { ...fast, maxRetries: 3 }
    const { error } = await drain(createResilientSseSource(httpUpstream(server.url), { reconnect }))
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(server.requests).to.have.lengthOf(1 + 3)
  })

  it('reestablish, step 5: a stream that was closed during the wait asks no more', async () => {
    await using server = await serve(resets(wire(1)))
    const source = createResilientSseSource(httpUpstream(server.url), { reconnect: { baseDelay: 60_000 } })
    source.resume()
    await next(source, 'retry')
    source.destroy()
    await once(source, 'close')
    expect(server.requests).to.have.lengthOf(1)
  })

  it('reestablish, step 5: Last-Event-ID is set where the last event ID string is not empty', async () => {
    await using server = await serveInTurn(resets(wire(1)), resets(wire(2)), ends('data: end\n\n'))
    await drain(createResilientSseSource(httpUpstream(server.url), objects))
    expect(idsSentTo(server)).to.deep.equal([undefined, '1', '2'])
  })

  it('reestablish, step 5: Last-Event-ID is not set where the last event ID string is empty', async () => {
    await using server = await serveInTurn(
      resets('data: x\n\n'),
      resets(wire(1)),
      resets('id\ndata: x\n\n'),
      ends('data: end\n\n'),
    )
    await drain(createResilientSseSource(httpUpstream(server.url), objects))
    expect(idsSentTo(server)).to.deep.equal([undefined, undefined, '1', undefined])
  })

  it('fail the connection: the reader is told once, and it is not attempted again', async () => {
    await using server = await serveInTurn(answers(404), ends('data: end\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), objects)
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
      await using server = await serveInTurn(script(wire(1)), ends(wire(2, 'end')))
      const source = createResilientSseSource(httpUpstream(server.url), objects)
      expect(await dataOf(source)).to.deep.equal(['event 1', 'end'])
    })
  }
})

function idsSentTo({ requests }: { readonly requests: readonly { headers: NodeJS.Dict<unknown> }[] }) {
  return requests.map(({ headers }) => headers['last-event-id'])
}

describe('HTML Standard, 9.2.4 The Last-Event-ID header', () => {
  const clients: readonly (readonly [string, (url: string) => UpstreamFactory])[] = [
    ['node:http', (url) => httpUpstream(url)],
    ['fetch', (url) => (context) => fetch(url, context)],
  ]
  for (const [client, open] of clients) {
    for (const id of ['7', 'a, b; c="d"', 'tab\there', 'é', '日本', '😀', '\ufeff']) {
      it(`its value is the id ${JSON.stringify(id)}, UTF-8 encoded, through ${client}`, async () => {
        await using server = await serveInTurn(resets(wire(id, 'x')), ends('data: end\n\n'))
        await drain(createResilientSseSource(open(server.url), objects))
        const value = String(server.requests[1]?.headers['last-event-id'])
        expect(Buffer.from(value, 'latin1').toString()).to.equal(id)
      })
    }
  }

  it('differs: an id with other control characters is no header value: it is left out, and a gap is told', async () => {
    await using server = await serveInTurn(resets(wire('a\x01b', 'x')), ends('data: end\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), objects)
    const gap = next(source, 'gap')
    await drain(source)
    expect(idsSentTo(server)).to.deep.equal([undefined, undefined])
    expect(await gap).to.include({ cursor: 'a\x01b' })
  })

  it('a client that comes back with one starts its upstream there', async () => {
    await using upstream = await serve(ends(wire('日9', 'end')))
    await using gateway = await serve((request, response) => {
      relaySse(request, response, httpUpstream(upstream.url), { isTerminal: lastIs('end') }).catch((error) =>
        response.destroy(error),
      )
    })
    const client = createResilientSseSource(httpUpstream(gateway.url), { ...objects, lastEventId: '日8' })
    expect(await dataOf(client)).to.deep.equal(['end'])
    expect(Buffer.from(String(idsSentTo(upstream)), 'latin1').toString()).to.equal('日8')
  })
})

describe('HTML Standard, 9.2.5 Parsing an event stream', () => {
  each([
    ['stream: may hold nothing', '', nothing],
    ['stream: may hold a byte order mark alone', mark, nothing],
    ['stream: may start with a byte order mark', withBytes(mark, 'data: x\n\ndata: y\n\n'), data('x', 'y')],
    [
      'stream: has one byte order mark; a second belongs to a name',
      withBytes(mark, mark, 'data: x\n\ndata: y\n\n'),
      data('y'),
    ],
    [
      'stream: U+FEFF at a later line belongs to a name',
      'data: x\n\n\ufeffdata: y\ndata: z\n\n',
      data('x', 'z'),
    ],
    ['event: may be a line end alone', '\n\n\r\r\r\n\r\ndata: x\n\n\n\n', data('x')],
    [
      'event: may be comments and fields in any order',
      ':a\ndata: x\n:b\nid: 1\n:c\n\n',
      { blocks: [{ id: '1', data: 'x' }], comments: ['a', 'b', 'c'], lastEventId: '1' },
    ],
    [
      'comment: a colon, then any characters, or none',
      ':\n:a\n: b\n:  c\n::d\n:data: x\n:\0\t\u2028\u{10ffff}\n\n',
      { blocks: [], comments: ['', 'a', 'b', ' c', ':d', 'data: x', '\0\t\u2028\u{10ffff}'] },
    ],
    ['field: may have no colon', 'data\n\n', data('')],
    ['field: may have nothing behind the colon', 'data:\n\n', data('')],
    ['field: may have a space behind the colon', 'data: x\n\n', data('x')],
    ['field: needs no space behind the colon', 'data:x\n\n', data('x')],
    ['field: may have further colons', 'data:x:y: z\n\ndata::\n\n', data('x:y: z', ':')],
    [
      'name-char: anything but CR, LF and colon, so that other names are fields as well',
      '\0data: a\n\tdata: b\n\x0bdata: c\n\x0cdata: d\ndata;e\n\u0085data: f\n\u{10ffff}data: g\ndata: h\n\n',
      data('h'),
    ],
    [
      'any-char: anything but CR and LF, so that no other character ends a line',
      'data: \0\t\x0b\x0c\x1c\x1d\x1e\x7f\u0085\u2028\u2029\u{10ffff}\n\n',
      data('\0\t\x0b\x0c\x1c\x1d\x1e\x7f\u0085\u2028\u2029\u{10ffff}'),
    ],
    ['end-of-line: LF', 'data: x\ndata: y\n\ndata: z\n\n', data('x\ny', 'z')],
    ['end-of-line: CR', 'data: x\rdata: y\r\rdata: z\r\r', data('x\ny', 'z')],
    ['end-of-line: CRLF', 'data: x\r\ndata: y\r\n\r\ndata: z\r\n\r\n', data('x\ny', 'z')],
    [
      'end-of-line: all three in one stream',
      'data: x\rdata: y\ndata: z\r\n\rdata: w\n\r\n',
      data('x\ny\nz', 'w'),
    ],
    ['end-of-line: CRLF is one, not two', 'data: x\r\ndata: y\r\n\r\n', data('x\ny')],
    ['end-of-line: LF and CR are two', 'data: x\n\rdata: y\n\r', data('x', 'y')],
    [
      'end-of-line: of a comment as of a field',
      ':a\r:b\n:c\r\n\r\n',
      { blocks: [], comments: ['a', 'b', 'c'] },
    ],
    ['the encoding is UTF-8', 'data: é日😀\n\n', data('é日😀')],
  ])

  for (const end of ['\n', '\r', '\r\n']) {
    it(`buffering: an event is dispatched at its blank line, here ${JSON.stringify(end)}, not at the next byte`, async () => {
      await using server = await serve(stays(`data: x${end}${end}`))
      const source = createResilientSseSource(httpUpstream(server.url), objects)
      const [event] = await once(source, 'data')
      expect(event).to.include({ data: 'x' })
      source.destroy()
      const bytes = createResilientSseSource(httpUpstream(server.url))
      const [chunk] = await once(bytes, 'data')
      expect(meaningOf(chunk)).to.deep.equal({ ...data('x'), comments: [] })
      bytes.destroy()
    })
  }
})

describe('HTML Standard, 9.2.6 Interpreting an event stream', () => {
  describe('decode and read line by line', () => {
    each([
      [
        'UTF-8 decode: what is not UTF-8 is U+FFFD, and nothing around it',
        withBytes('data: a', [0xff], 'b', [0xe6, 0x97], 'c', [0xc0, 0xaf], 'd\n\n'),
        data('a\ufffdb\ufffdc\ufffd\ufffdd'),
      ],
      [
        'UTF-8 decode: a character that a line end cuts short is U+FFFD',
        withBytes('data: a', [0xf0, 0x9f, 0x98], '\ndata: b\n\n'),
        data('a\ufffd\nb'),
      ],
      ['UTF-8 decode: U+FEFF within the stream stays', 'data: \ufeffx\n\n', data('\ufeffx')],
      [
        'buffers: all three are empty at the start',
        'event\ndata: x\n\n',
        { blocks: [{ data: 'x' }], lastEventId: '' },
      ],
      ['an empty line dispatches the event', 'data: x\n\ndata: y\n\n', data('x', 'y')],
      [
        'a line that starts with a colon is ignored, but told as a comment',
        'data: x\n:data: y\n\n',
        { ...data('x'), comments: ['data: y'] },
      ],
      ['a line with a colon: the name is before the first one', 'data:a:b\n\n', data('a:b')],
      ['a line with a colon: one space goes, no more', 'data:  x \n\n', data(' x ')],
      ['a line with a colon: a tab stays', 'data:\tx\n\n', data('\tx')],
      ['a line with a colon: a space in front of it belongs to the name', 'data : x\ndata: y\n\n', data('y')],
      ['a line without a colon is a name, and its value is empty', 'data\ndata\n\n', data('\n')],
      [
        'the end of the file discards what is pending: no blank line',
        'data: x\n\nid: 1\ndata: y\n',
        data('x'),
      ],
      ['the end of the file discards what is pending: no line end', 'data: x\n\nid: 1\ndata: y', data('x')],
      ['the end of the file discards what is pending: an id alone', 'id: 1\n', nothing],
      [
        'the end of the file discards what is pending: the comments in it, not those in front of it',
        ':a\ndata: x\n:b\n',
        { blocks: [], comments: ['a'] },
      ],
      [
        'the end of the file discards what is pending: half a CRLF is a whole line end',
        'data: x\r\n\rdata: y\r',
        data('x'),
      ],
      [
        'the end of the file discards what is pending: half a character',
        withBytes('data: x\n\ndata: ', [0xe6, 0x97]),
        data('x'),
      ],
    ])

    it('the end of the file discards what is pending: nothing of it is in the next connection', async () => {
      for (const objectMode of [true, false]) {
        const streams = ['event: a\nid: 1\ndata: x\n', 'data: y\n\n']
        const source = createResilientSseSource(
          ({ lastEventId }) => {
            expect(lastEventId).to.equal('')
            const text = streams.shift()
            if (text === undefined) return { statusCode: 204, headers: {}, body: Readable.from([]) }
            return Readable.from([Buffer.from(text)])
          },
          { objectMode, reconnect: fast },
        )
        const { chunks } = await drain(source)
        const events = chunks.flatMap((chunk) =>
          Buffer.isBuffer(chunk) ? meaningOf(chunk).blocks : [plain(chunk)],
        )
        expect(events).to.deep.equal([{ data: 'y' }])
      }
    })
  })

  describe('process the field', () => {
    each([
      [
        '"event" sets the event type buffer',
        'event: a\ndata: x\n\n',
        { blocks: [{ event: 'a', data: 'x' }] },
      ],
      [
        '"event" sets it anew: the last one counts',
        'event: a\nevent: b\ndata: x\n\n',
        { blocks: [{ event: 'b', data: 'x' }] },
      ],
      ['"event" may set it to the empty string', 'event: a\nevent:\ndata: x\n\n', data('x')],
      [
        '"event" may hold anything, U+0000 NULL too',
        'event:  a:\0b\ndata: x\n\n',
        { blocks: [{ event: ' a:\0b', data: 'x' }] },
      ],
      ['"data" appends the value and a LF', 'data: x\ndata:\ndata: y\n\n', data('x\n\ny')],
      [
        '"id" sets the last event ID buffer',
        'id: 1\ndata: x\n\n',
        { blocks: [{ id: '1', data: 'x' }], lastEventId: '1' },
      ],
      [
        '"id" sets it anew: the last one counts',
        'id: 1\ndata: x\nid: 2\n\n',
        { blocks: [{ id: '2', data: 'x' }], lastEventId: '2' },
      ],
      [
        '"id" sets it to the empty string where there is no value',
        'id: 1\ndata: x\n\nid\ndata: y\n\n',
        {
          blocks: [
            { id: '1', data: 'x' },
            { id: '', data: 'y' },
          ],
        },
      ],
      [
        '"id" is ignored where its value holds U+0000 NULL, wherever that stands',
        'id: 1\ndata: x\n\nid: 2\0\nid: \x003\nid: 4\x005\nid:\0\ndata: y\n\n',
        { blocks: [{ id: '1', data: 'x' }, { data: 'y' }], lastEventId: '1' },
      ],
      [
        '"id" keeps the spaces behind the first',
        'id:  1 \ndata: x\n\n',
        { blocks: [{ id: ' 1 ', data: 'x' }], lastEventId: ' 1 ' },
      ],
      ['"retry" is no event', 'retry: 1\n\nretry: 2\ndata: x\n\n', data('x')],
      [
        'any other name is ignored',
        'dat: a\ndatas: b\nfoo: c\n data: d\nlast-event-id: 9\nid2: 9\ndata: x\n\n',
        data('x'),
      ],
      [
        'names are compared literally, with no case folding',
        'Data: a\nDATA: b\nId: 1\nID: 2\nEvent: c\nRETRY: 3\ndata: x\n\n',
        data('x'),
      ],
    ])

    /** The delay, and what set it, after a connection that said this and was reset. */
    const delayAfter = async (text: string) => {
      const source = createResilientSseSource(
        async function* () {
          yield `data: x\n\n${text}`
          throw new Error('reset')
        },
        { reconnect: { baseDelay: 500, minDelay: 1, maxDelay: 60_000, jitter: 0 } },
      )
      source.resume()
      const { delay } = await next(source, 'retry')
      source.destroy()
      return delay
    }

    it('"retry" of ASCII digits sets the reconnection time, as an integer in base ten', async () => {
      expect(await delayAfter('retry: 1234\n\n')).to.equal(1234)
      expect(await delayAfter('retry:0042\n\n')).to.equal(42)
      expect(await delayAfter('retry: 7\nretry: 8\n\n')).to.equal(8)
    })

    it('"retry" sets it at once: the end of the file takes nothing back', async () => {
      expect(await delayAfter('data: y\nretry: 1234\n')).to.equal(1234)
      expect(await delayAfter('retry: 1234')).to.equal(500)
    })

    for (const value of ['', ' 5', '5 ', '-5', '+5', '5.0', '5a', 'a5', '1e3', '0x10', '٣', 'Infinity']) {
      it(`"retry" of ${JSON.stringify(value)} is ignored`, async () => {
        expect(await delayAfter(`retry: ${value}\n\n`)).to.equal(500)
      })
    }
  })

  describe('dispatch the event', () => {
    const lastEventIds = async (...streams: string[]) => {
      const source = createResilientSseSource(
        ({ attempt }) => {
          const text = streams.shift()
          if (text !== undefined) return Readable.from([Buffer.from(text)])
          expect(attempt).to.equal(0)
          return { statusCode: 204, headers: {}, body: Readable.from([]) }
        },
        { objectMode: true, reconnect: fast },
      )
      const { chunks } = await drain(source)
      return chunks.map(({ lastEventId }) => lastEventId)
    }

    it('step 1: the buffer is not reset, so that the last event ID string stays until it is set anew', async () => {
      const text = 'data: a\n\nid: 1\ndata: b\n\ndata: c\n\nid: 2\ndata: d\n\nid\ndata: e\n\ndata: f\n\n'
      expect(await lastEventIds(text)).to.deep.equal(['', '1', '1', '2', '', ''])
    })

    it('step 1: a block without data sets the last event ID string all the same', async () => {
      expect(await lastEventIds('id: 1\n\ndata: a\n\nid\n\ndata: b\n\n')).to.deep.equal(['1', '1', '', ''])
    })

    it('step 1: differs: the buffer outlives the connection', async () => {
      expect(await lastEventIds('id: 1\ndata: a\n\n', 'data: b\n\n')).to.deep.equal(['1', '1'])
    })

    each([
      [
        'step 2: an empty data buffer dispatches nothing',
        'event: a\n\n\nevent: b\n:c\n\n',
        {
          blocks: [],
          comments: ['c'],
        },
      ],
      ['step 2: an empty data buffer forgets the event type as well', 'event: a\n\ndata: x\n\n', data('x')],
      [
        'step 2: differs: an id that comes so is passed on, as clients move with it',
        'event: a\nid: 1\n\n',
        { blocks: [{ id: '1' }], lastEventId: '1' },
      ],
      [
        'step 3: one LF goes from the end of the data, and no other',
        'data: x\ndata:\ndata:\n\n',
        data('x\n\n'),
      ],
      ['step 3: data of one empty line is the empty string', 'data\n\n', data('')],
      [
        'step 5: the type is "message" where there is none, and the field is absent',
        'data: x\n\n',
        data('x'),
      ],
      [
        'step 6: the type is that of the event type buffer otherwise',
        'event: message\ndata: x\n\nevent: a b\ndata: y\n\n',
        {
          blocks: [
            { event: 'message', data: 'x' },
            { event: 'a b', data: 'y' },
          ],
        },
      ],
      [
        'step 7: data and type buffers are empty for the next event',
        'event: a\ndata: x\n\ndata: y\n\n',
        { blocks: [{ event: 'a', data: 'x' }, { data: 'y' }] },
      ],
    ])

    it('step 8: nothing is dispatched once the reader has closed, not even what came in the same chunk', async () => {
      for (const objectMode of [true, false]) {
        const chunk = Buffer.from(':a\n\ndata: b\n\n:c\n\ndata: d\n\n')
        const source = createResilientSseSource(() => Readable.from([chunk]), { objectMode })
        const seen: unknown[] = []
        source.on('data', (data) => seen.push(data)).once('comment', () => source.destroy())
        source.on('comment', (text) => seen.push(text))
        await once(source, 'close')
        expect(seen).to.deep.equal(['a'])
      }
    })
  })

  describe('examples', () => {
    each([
      ['three data lines are one event', 'data: ACME\ndata: +7\ndata: 140\n\n', data('ACME\n+7\n140')],
      [
        'four blocks: a comment, an event with an id, one whose id is cleared, one with a leading space and no end',
        ': four blocks\n\ndata: one\nid: 1\n\ndata:two\nid\n\ndata:  three\n',
        {
          blocks: [
            { id: '1', data: 'one' },
            { id: '', data: 'two' },
          ],
          comments: ['four blocks'],
        },
      ],
      [
        'the same with its last blank line',
        ': four blocks\n\ndata: one\nid: 1\n\ndata:two\nid\n\ndata:  three\n\n',
        {
          blocks: [{ id: '1', data: 'one' }, { id: '', data: 'two' }, { data: ' three' }],
          comments: ['four blocks'],
        },
      ],
      [
        'an empty event, one of a single LF, and one that is discarded',
        'data\n\ndata\ndata\n\ndata:',
        data('', '\n'),
      ],
      ['two events alike, with and without the space', 'data:same\n\ndata: same\n\n', data('same', 'same')],
    ])
  })
})

describe('HTML Standard, 9.2.7 Authoring notes', () => {
  it('a relay sends a comment every 15 seconds by default, against proxies that drop what is silent', async () => {
    await using upstream = await serve(stays('data: x\n\n'))
    await using gateway = await serve((request, response) => {
      relaySse(request, response, httpUpstream(upstream.url)).catch((error) => response.destroy(error))
    })
    const client = createResilientSseSource(httpUpstream(gateway.url), { objectMode: true })
    const comments: string[] = []
    client.on('comment', (text) => comments.push(text))
    using time = holdTime()
    await once(client, 'data')
    await time.pass(14_999)
    const silent = comments.length
    await time.pass(1)
    await until(
      () => comments.length > 0,
      () => 'a comment',
    )
    expect([silent, comments.length]).to.deep.equal([0, 1])
    client.destroy()
  })

  it('comments that an upstream sends for that reach the client as they come', async () => {
    await using server = await serveInTurn(stays(':\n\n'), stays(': alive\n'))
    for (const text of ['', 'alive']) {
      const source = createResilientSseSource(httpUpstream(server.url))
      const [chunk] = await once(source, 'data')
      expect(meaningOf(chunk)).to.deep.equal({ blocks: [], comments: [text] })
      source.destroy()
    }
  })

  it('chunking that a layer in between does, unaware of events, changes nothing', async () => {
    const text = 'id: 1\r\nevent: a\r\ndata: é\r\n\r\n: c\r\ndata: end\r\n\r\n'
    await using server = await serve(async (_, response) => {
      stream(response)
      for (const byte of Buffer.from(text)) {
        await new Promise((resolve) => response.write(Buffer.of(byte), resolve))
      }
      response.end()
    })
    const source = createResilientSseSource(httpUpstream(server.url), { isTerminal: lastIs('end') })
    expect(meaningOf(Buffer.from(await textOf(source)))).to.deep.equal({
      blocks: [{ id: '1', event: 'a', data: 'é' }, { data: 'end' }],
      comments: ['c'],
    })
  })
})
