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
import { ends, resets, serve, serveInTurn, stays } from './support/server.ts'
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

  it("passes on blocks with an id and without data, so that the client's last event ID follows", async () => {
    expect(await through('id: 5\n\nevent: x\n\nid\n\ndata: end\n\n')).to.equal(
      'id: 5\n\nid: \n\ndata: end\n\n',
    )
  })

  it('passes comments on, unless comments is false', async () => {
    const text = ': one\n:two\n\ndata: x\n: within\ndata: y\n\ndata: end\n\n'
    expect(await through(text)).to.equal(': one\n: two\n: within\ndata: x\ndata: y\n\ndata: end\n\n')
    expect(await through(text, { comments: false })).to.equal('data: x\ndata: y\n\ndata: end\n\n')
  })

  it("does not pass on the upstream's retry: field", async () => {
    expect(await through('retry: 10\ndata: x\n\nretry: 20\n\ndata: end\n\n')).to.equal(
      'data: x\n\ndata: end\n\n',
    )
  })

  it('passes on a comment without a blank line at once', async () => {
    await using server = await serve(stays(': alive\n'))
    const source = createResilientSseSource(httpUpstream(server.url))
    const [chunk] = await once(source, 'data')
    expect(String(chunk)).to.equal(': alive\n')
    source.destroy()
  })

  it('yields the events of one upstream chunk as one chunk', async () => {
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

  it('never merges an event with the unfinished event of an earlier connection', async () => {
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
  it('yields each event with the last event ID after that event', async () => {
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

  it('passes the last event ID on to events of later connections', async () => {
    await using server = await serveInTurn(resets(wire(1), 'data: x\n\n'), stays('data: end\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('end'),
    })
    const { chunks } = await drain(source)
    expect(chunks.map(({ lastEventId }) => lastEventId)).to.deep.equal(['1', '1', '1'])
  })

  it('emits comments, and does not yield them', async () => {
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

  it('passes events through a dedupe, an interceptor and the serializer, over a drop with a full replay', async () => {
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

  it('drops repeats even when the source reconnects before the dedupe has received an event', async () => {
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

  it('passes repeats on without dedupe; the cursor does not go back for repeats that a dedupe with the same tracker drops', async () => {
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

  it('can be read as a web stream', async () => {
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
