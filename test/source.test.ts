import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
import { expect } from 'chai'
import {
  createDedupe,
  createResilientSseSource,
  createSerializer,
  EventTracker,
  httpUpstream,
} from '../src/index.ts'
import { dataOf, drain, fast, lastIs, next, textOf, wire } from './support/events.ts'
import { answers, ends, resets, serve, serveInTurn, stays } from './support/server.ts'
import { until } from './support/until.ts'

const objects = { objectMode: true, reconnect: fast } as const

describe('bytes out', () => {
  const through = (text: string, options = {}) =>
    textOf(
      createResilientSseSource(
        async function* () {
          yield text
        },
        { isTerminal: lastIs('end'), ...options },
      ),
    )

  it('writes each event whole, with LF line ends and a blank line', async () => {
    const text = 'event: tick\r\nid: 7\r\ndata: a\r\ndata:  b\r\n\r\n' + 'data:end\n\n'
    expect(await through(text)).to.equal('id: 7\nevent: tick\ndata: a\ndata:  b\n\ndata: end\n\n')
  })

  it('passes on events with an id and no data, so that the client moves on too', async () => {
    expect(await through('id: 5\n\nevent: x\n\nid\n\ndata: end\n\n')).to.equal(
      'id: 5\n\nid: \n\ndata: end\n\n',
    )
  })

  it('passes comments on, unless told not to', async () => {
    const text = ': one\n:two\n\ndata: x\n: within\ndata: y\n\ndata: end\n\n'
    expect(await through(text)).to.equal(': one\n: two\n: within\ndata: x\ndata: y\n\ndata: end\n\n')
    expect(await through(text, { comments: false })).to.equal('data: x\ndata: y\n\ndata: end\n\n')
  })

  it("keeps the upstream's retry: to itself", async () => {
    expect(await through('retry: 10\ndata: x\n\nretry: 20\n\ndata: end\n\n')).to.equal(
      'data: x\n\ndata: end\n\n',
    )
  })

  it('passes a comment without a blank line on at once', async () => {
    await using server = await serve(stays(': alive\n'))
    const source = createResilientSseSource(httpUpstream(server.url))
    const [chunk] = await once(source, 'data')
    expect(String(chunk)).to.equal(': alive\n')
    source.destroy()
  })

  it('makes one chunk of the events of one upstream chunk', async () => {
    const source = createResilientSseSource(
      async function* () {
        yield wire(1) + wire(2) + wire(3)
        yield wire(4) + wire(5, 'end')
      },
      { isTerminal: lastIs('end') },
    )
    const chunks: Buffer[] = []
    source.on('data', (chunk) => chunks.push(chunk))
    await once(source, 'end')
    expect(chunks.map(String)).to.deep.equal([wire(1) + wire(2) + wire(3), wire(4) + wire(5, 'end')])
  })

  it('never merges an event of one connection with the rest of one before', async () => {
    await using server = await serveInTurn(
      resets(wire(1), 'id: 2\ndata: ha'),
      ends('data: lf\n\n', wire(2, 'end')),
    )
    const source = createResilientSseSource(httpUpstream(server.url), {
      reconnect: fast,
      isTerminal: lastIs('end'),
    })
    expect(await textOf(source)).to.equal(`${wire(1)}data: lf\n\n${wire(2, 'end')}`)
  })
})

describe('object mode', () => {
  it('yields events with the last event ID as of each', async () => {
    const source = createResilientSseSource(
      async function* () {
        yield 'id: 1\nevent: tick\ndata: a\n\ndata: b\n\nid: 2\n\nid\ndata: end\n\n'
      },
      { ...objects, isTerminal: lastIs('end') },
    )
    const { chunks } = await drain(source)
    expect(chunks).to.deep.equal([
      { id: '1', event: 'tick', data: 'a', lastEventId: '1' },
      { id: undefined, event: undefined, data: 'b', lastEventId: '1' },
      { id: '2', lastEventId: '2' },
      { id: '', event: undefined, data: 'end', lastEventId: '' },
    ])
  })

  it('emits comments, and yields none', async () => {
    const source = createResilientSseSource(
      async function* () {
        yield ': hello\n\ndata: end\n\n'
      },
      { ...objects, isTerminal: lastIs('end') },
    )
    const comment = next(source, 'comment')
    expect(await dataOf(source)).to.deep.equal(['end'])
    expect(await comment).to.equal('hello')
  })

  it('goes through a dedupe, an interceptor and the serializer, over a drop with a full replay', async () => {
    await using server = await serveInTurn(
      resets(wire(1) + wire(2)),
      ends(wire(1) + wire(2) + wire(3, 'end')),
    )
    const tracker = new EventTracker()
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      dedupe: false,
      tracker,
      isTerminal: lastIs('end'),
    })
    let out = ''
    await pipeline(
      source,
      createDedupe(tracker),
      async function* (events) {
        for await (const event of events) yield { ...event, data: String(event.data).toUpperCase() }
      },
      createSerializer(),
      async (chunks) => {
        for await (const chunk of chunks) out += chunk
      },
    )
    expect(out).to.equal(wire(1, 'EVENT 1') + wire(2, 'EVENT 2') + wire(3, 'END'))
    expect(tracker.duplicates).to.equal(2)
    expect(tracker.lastEventId).to.equal('3')
  })

  it('drops repeats also where the dedupe has seen nothing yet when the source reconnects', async () => {
    await using server = await serveInTurn(
      resets(wire(1) + wire(2)),
      stays(wire(1) + wire(2) + wire(3, 'end')),
    )
    const tracker = new EventTracker()
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      dedupe: false,
      tracker,
      isTerminal: lastIs('end'),
    })
    const seen: (string | undefined)[] = []
    await pipeline(
      source,
      async function* (events) {
        for await (const event of events) {
          await until(
            () => source.stats.opens === 2,
            () => 'a second connection',
          )
          yield event
        }
      },
      createDedupe(tracker),
      async (events) => {
        for await (const event of events) seen.push(event.data)
      },
    )
    expect(seen).to.deep.equal(['event 1', 'event 2', 'end'])
  })

  it("without dedupe passes repeats on; the cursor does not go back for those that the tracker's dedupe drops", async () => {
    await using server = await serveInTurn(
      resets(wire(1) + wire(2) + wire(3)),
      resets(wire(1)),
      ends(wire(4, 'end')),
    )
    const tracker = new EventTracker()
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      dedupe: false,
      tracker,
      isTerminal: lastIs('end'),
    })
    const seen: (string | undefined)[] = []
    await pipeline(source, createDedupe(tracker), async (events) => {
      for await (const event of events) seen.push(event.data)
    })
    expect(seen).to.deep.equal(['event 1', 'event 2', 'event 3', 'end'])
    expect(server.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([
      undefined,
      '3',
      '3',
    ])
  })

  it('reads as a web stream', async () => {
    const { Readable } = await import('node:stream')
    await using server = await serveInTurn(resets(wire(1)), ends(wire(2, 'end')))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('end'),
    })
    const seen: unknown[] = []
    for await (const event of Readable.toWeb(source)) seen.push(event)
    expect(seen).to.have.length(2)
    const bytes = createResilientSseSource(httpUpstream(server.url), {
      reconnect: fast,
      lastEventId: '1',
      isTerminal: lastIs('end'),
    })
    let text = ''
    for await (const chunk of Readable.toWeb(bytes)) text += new TextDecoder().decode(chunk)
    expect(text).to.equal(wire(2, 'end'))
  })
})

describe('the cursor', () => {
  const idsOf = (server: { requests: { headers: NodeJS.Dict<string | string[]> }[] }) =>
    server.requests.map(({ headers }) => headers['last-event-id'])

  it('starts from the lastEventId option', async () => {
    await using server = await serve(ends(wire(8, 'end')))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      lastEventId: '7',
      isTerminal: lastIs('end'),
    })
    expect(source.lastEventId).to.equal('7')
    await dataOf(source)
    expect(idsOf(server)).to.deep.equal(['7'])
    expect(source.lastEventId).to.equal('8')
  })

  it('moves with a block that has an id alone', async () => {
    await using server = await serveInTurn(resets(wire(1), 'id: 5\n\n'), ends('data: end\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('end'),
    })
    await drain(source)
    expect(idsOf(server)).to.deep.equal([undefined, '5'])
  })

  it('is cleared by an empty id', async () => {
    await using server = await serveInTurn(resets(wire(1), 'id\ndata: x\n\n'), ends('data: end\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('end'),
    })
    await drain(source)
    expect(idsOf(server)).to.deep.equal([undefined, undefined])
    expect(source.stats.gaps).to.equal(1)
  })

  it('ignores an id with NUL', async () => {
    await using server = await serveInTurn(resets(wire(1), 'id: 2\0\ndata: x\n\n'), ends('data: end\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('end'),
    })
    await drain(source)
    expect(idsOf(server)).to.deep.equal([undefined, '1'])
  })

  it('is inherited by events without an id, also on later connections, and kept when one brings no id', async () => {
    await using server = await serveInTurn(
      resets(wire(1), 'data: x\n\n'),
      resets('data: y\n\n'),
      resets(': nothing\n\n'),
      answers(503),
      ends('data: end\n\n'),
    )
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('end'),
    })
    const { chunks } = await drain(source)
    expect(idsOf(server)).to.deep.equal([undefined, '1', '1', '1', '1'])
    expect(chunks.map(({ lastEventId }) => lastEventId)).to.deep.equal(['1', '1', '1', '1'])
  })

  for (const [client, open] of [
    ['node:http', (url: string) => httpUpstream(url)],
    [
      'fetch',
      (url: string) => (context: { headers: Readonly<Record<string, string>> }) => fetch(url, context),
    ],
  ] as const) {
    it(`goes into the header as UTF-8 through ${client}`, async () => {
      await using server = await serveInTurn(resets(wire('日本 é', 'x')), ends('data: end\n\n'))
      const source = createResilientSseSource(open(server.url), { ...objects, isTerminal: lastIs('end') })
      await drain(source)
      const header = server.requests[1]?.headers['last-event-id']
      expect(Buffer.from(String(header), 'latin1').toString()).to.equal('日本 é')
    })
  }

  it('comes from cursor(event) into a query, with another verb on resume', async () => {
    const event = (n: number) => `data: {"sequence_number":${n}}\n\n`
    await using server = await serveInTurn(resets(event(1) + event(2)), resets(': none\n\n'), ends(event(3)))
    const source = createResilientSseSource(
      (context) => {
        if (context.cursor === undefined)
          return httpUpstream(server.url, { method: 'POST', body: '{}' })(context)
        return httpUpstream(`${server.url}?after=${context.cursor}`)(context)
      },
      {
        ...objects,
        resume: 'with-cursor',
        cursor: ({ data = '' }) => String(JSON.parse(data).sequence_number),
        isTerminal: ({ data }) => data === '{"sequence_number":3}',
      },
    )
    expect(await dataOf(source)).to.have.length(3)
    expect(server.requests.map(({ method, url }) => `${method} ${url}`)).to.deep.equal([
      'POST /events',
      'GET /events?after=2',
      'GET /events?after=2',
    ])
    expect(source.stats.gaps).to.equal(0)
  })

  it('is not asked of cursor(event) for a block without data', async () => {
    const asked: (string | undefined)[] = []
    const source = createResilientSseSource(
      async function* () {
        yield 'id: 1\n\ndata: end\n\n'
      },
      { ...objects, cursor: ({ data }) => void asked.push(data), isTerminal: lastIs('end') },
    )
    expect(await dataOf(source)).to.deep.equal([undefined, 'end'])
    expect(asked).to.deep.equal(['end'])
  })

  it('does not go back with repeats', async () => {
    await using server = await serveInTurn(
      resets(`${wire(1)}id: 2\n\n${wire(3)}`),
      resets(wire(1), 'id: 2\n\n'),
      ends(wire(4, 'end')),
    )
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('end'),
    })
    await drain(source)
    expect(idsOf(server)).to.deep.equal([undefined, '3', '3'])
  })
})

describe('duplicates', () => {
  const over = async (first: string, second: string, tracker = new EventTracker()) => {
    await using server = await serveInTurn(resets(first), ends(`${second}data: end\n\n`))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      tracker,
      isTerminal: lastIs('end'),
    })
    const repeated: (string | undefined)[] = []
    source.on('duplicate', ({ event }) => repeated.push(event.data))
    const data = await dataOf(source)
    expect(data.pop()).to.equal('end')
    expect(source.stats.duplicates).to.equal(repeated.length)
    return { data, repeated }
  }

  it('of a full replay are dropped', async () => {
    const all = wire(1) + wire(2) + wire(3)
    expect(await over(all, all + wire(4))).to.deep.equal({
      data: ['event 1', 'event 2', 'event 3', 'event 4'],
      repeated: ['event 1', 'event 2', 'event 3'],
    })
  })

  it('of a partial overlap are dropped', async () => {
    const { data } = await over(wire(1) + wire(2) + wire(3), wire(3) + wire(4))
    expect(data).to.deep.equal(['event 1', 'event 2', 'event 3', 'event 4'])
  })

  it('are not seen in several events under one id', async () => {
    const several = `${wire(1, 'a') + wire(1, 'b')}id: 1\nevent: other\ndata: a\n\n`
    expect(await over(several, several + wire(1, 'c'))).to.deep.equal({
      data: ['a', 'b', 'a', 'c'],
      repeated: ['a', 'b', 'a'],
    })
  })

  it('are not seen in a restarted upstream that counts from 1 again with new contents', async () => {
    const { data } = await over(wire(1, 'a') + wire(2, 'b'), wire(1, 'x') + wire(2, 'y'))
    expect(data).to.deep.equal(['a', 'b', 'x', 'y'])
  })

  it('are not looked for among events without an id', async () => {
    const { data, repeated } = await over('data: a\n\ndata: a\n\n', 'data: a\n\n')
    expect(data).to.deep.equal(['a', 'a', 'a'])
    expect(repeated).to.deep.equal([])
  })

  it('are found by the id alone when the tracker says so', async () => {
    const { data } = await over(
      wire(1, 'a'),
      wire(1, 'rendered anew') + wire(2),
      new EventTracker({ identity: 'id' }),
    )
    expect(data).to.deep.equal(['a', 'event 2'])
  })

  it('are not looked for while one connection lives', async () => {
    const { data } = await over(wire(1) + wire(1), wire(2))
    expect(data).to.deep.equal(['event 1', 'event 1', 'event 2'])
  })

  it('are passed on without dedupe', async () => {
    await using server = await serveInTurn(resets(wire(1)), ends(wire(1) + wire(2, 'end')))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      dedupe: false,
      isTerminal: lastIs('end'),
    })
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 1', 'end'])
  })

  it('that are terminal end the stream, and are not passed on again', async () => {
    const tracker = new EventTracker()
    const over = { ...objects, tracker, isTerminal: lastIs('end') }
    await using server = await serve(ends(wire(1, 'end')))
    expect(await dataOf(createResilientSseSource(httpUpstream(server.url), over))).to.deep.equal(['end'])
    expect(await dataOf(createResilientSseSource(httpUpstream(server.url), over))).to.deep.equal([])
  })
})

describe('state and stats', () => {
  it('tell where the source stands', async () => {
    await using server = await serveInTurn(resets(wire(1)), stays(wire(2)))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('event 2'),
    })
    const states: string[] = [source.state]
    for (const event of ['open', 'drop', 'retry'] as const)
      source.on(event, () => states.push(`${event} ${source.state}`))
    await drain(source)
    states.push(source.state)
    expect(states).to.deep.equal([
      'connecting',
      'open open',
      'drop waiting',
      'retry waiting',
      'open open',
      'ended',
    ])
  })

  it('count what happened', async () => {
    const last = wire(3, 'end')
    await using server = await serveInTurn(answers(503), resets(wire(1)), ends(wire(1) + wire(2)), ends(last))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('end'),
    })
    await drain(source)
    const { downtime, lastError, ...counts } = source.stats
    expect(counts).to.deep.equal({
      attempts: 4,
      opens: 3,
      gaps: 0,
      drops: { end: 1, reset: 1, 'idle-timeout': 0 },
      events: 3,
      duplicates: 1,
      bytes: wire(1).length * 2 + wire(2).length + last.length,
    })
    expect(downtime).to.be.above(0)
    expect(lastError).to.include({ code: 'ERR_SSE_DROPPED' })
  })

  it('downtime includes the outage that still goes on', async () => {
    await using server = await serve(answers(503))
    const source = createResilientSseSource(httpUpstream(server.url), { reconnect: { baseDelay: 60_000 } })
    source.resume()
    await next(source, 'retry')
    const { downtime } = source.stats
    await until(
      () => source.stats.downtime > downtime,
      () => 'downtime grows',
    )
    source.destroy()
    const after = source.stats.downtime
    await new Promise(setImmediate)
    expect(source.stats.downtime).to.equal(after)
  })
})
