import { once } from 'node:events'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import fc from 'fast-check'
import { createResilientSseSource, httpUpstream, type SourceOptions } from '../../src/index.ts'
import { drain, fast, next, wire } from '../support/events.ts'
import { itemsOf } from '../support/model.ts'
import { ends, serve, serveInTurn, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Connections that serve what they are given, chunk by chunk, each to its clean end; then there is no more. */
async function outcomeOf(
  connections: readonly (readonly Buffer[])[],
  options: Pick<SourceOptions, 'windowBytes' | 'dedupe'>,
) {
  const asked: (string | undefined)[] = []
  const source = createResilientSseSource(
    ({ cursor, lastEventId }) => {
      asked.push(cursor, lastEventId)
      const chunks = connections[asked.length / 2 - 1]
      if (chunks) return Readable.from(chunks.map((chunk) => Buffer.from(chunk)))
      return { statusCode: 204, headers: {}, body: Readable.from([]) }
    },
    { reconnect: { ...fast, maxDelay: 1, maxRetries: Number.POSITIVE_INFINITY }, ...options },
  )
  const gaps: unknown[] = []
  source.on('gap', ({ cursor }) => gaps.push(cursor))
  const { chunks, error } = await drain(source)
  const { downtime: _, lastError: __, ...stats } = source.stats
  const blocks = itemsOf(Buffer.concat(chunks))
  return { blocks, error, asked, gaps, stats, lastEventId: source.lastEventId }
}

/** A block of some kind: with a short or a long id, a repeated or no id at all, and what else may stand in it. */
const block = fc
  .record({
    id: fc.oneof(
      { arbitrary: fc.nat(30).map((n) => `id: ${n}\n`), weight: 6 },
      {
        arbitrary: fc.constantFrom('', 'id\n', 'id: \n', 'id: 日本\n', `id: ${'x'.repeat(60)}\n`),
        weight: 2,
      },
    ),
    rest: fc.oneof(
      { arbitrary: fc.nat(9).map((n) => `data: ${n}\n`), weight: 6 },
      {
        arbitrary: fc.constantFrom(
          'event: a\ndata: 1\n',
          'data: 1\ndata: 2\n',
          'data\n',
          '',
          ': within\ndata: 3\n',
          'unknown: x\ndata: 4\n',
          'retry: 1\ndata: 5\n',
          'data: 6\r\n',
          'data: \0\n',
          `data: ${'x'.repeat(200)}\n`,
          `data: ${'x'.repeat(9000)}\n`,
        ),
        weight: 3,
      },
    ),
    between: fc.constantFrom('', '', '', ': comment\n', ':\n\n', '\n'),
  })
  .map(({ id, rest, between }) => `${between}${id}${rest}\n`)

const connection = fc
  .tuple(fc.array(block, { maxLength: 12 }), fc.array(fc.nat(20_000), { maxLength: 8 }), fc.nat(40))
  .map(([blocks, cuts, lost]) => {
    const bytes = Buffer.from(blocks.join(''))
    const whole = bytes.subarray(0, Math.max(0, bytes.length - (lost > 25 ? lost : 0)))
    const places = [0, ...cuts.map((cut) => cut % (whole.length + 1)).sort((a, b) => a - b), whole.length]
    return places.slice(1).map((place, n) => whole.subarray(places[n], place))
  })

describe('blocks that are passed on unread', () => {
  it('have the same result as blocks that are read, over any connections', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(connection, { maxLength: 5 }), fc.boolean(), async (connections, dedupe) => {
        const read = await outcomeOf(connections, { windowBytes: 0, dedupe })
        // All blocks together have fewer than 400,000 bytes.
        const unread = await outcomeOf(connections, { windowBytes: 400_000, dedupe })
        expect(unread).to.deep.equal(read)
      }),
      { numRuns: 300 },
    )
  })

  it('have the same cursor and counts on one connection, however few bytes are kept', async () => {
    await fc.assert(
      fc.asyncProperty(connection, fc.integer({ min: 1, max: 500 }), async (chunks, windowBytes) => {
        const read = await outcomeOf([chunks], { windowBytes: 0 })
        expect(await outcomeOf([chunks], { windowBytes })).to.deep.equal(read)
      }),
      { numRuns: 300 },
    )
  })

  it("are the upstream's own bytes", async () => {
    const chunk = Buffer.from('data:x\nunknown: y\nid:1\n\n: c\nevent:z\n\n')
    const source = createResilientSseSource(() => Readable.from([chunk, Buffer.from('data: half')]))
    const [passed] = await once(source, 'data')
    expect(passed.equals(chunk)).to.equal(true)
    expect(passed.buffer).to.equal(chunk.buffer)
    source.destroy()
  })

  it('are passed on in chunks that end where blocks end, also after a held block', async () => {
    const long = wire(2, 'x'.repeat(10_000))
    const text = wire(1) + long + wire(3)
    const first = Buffer.from(text.slice(0, 10))
    const source = createResilientSseSource(() => Readable.from([first, Buffer.from(text.slice(10))]))
    const chunks: string[] = []
    source.on('data', (chunk) => chunks.push(String(chunk)))
    await next(source, 'drop')
    source.destroy()
    expect(chunks).to.deep.equal([wire(1), long + wire(3)])
  })

  it('are included in stats and lastEventId at once', async () => {
    await using server = await serve(stays(wire(1) + wire(2), ': c\n'))
    const source = createResilientSseSource(httpUpstream(server.url))
    await once(source, 'data')
    expect(source.lastEventId).to.equal('2')
    expect(source.stats).to.include({ events: 2, duplicates: 0 })
    source.destroy()
    expect(source.stats).to.include({ events: 2 })
  })

  it('are included in stats and lastEventId after the source was destroyed', async () => {
    await using server = await serve(stays(wire(1) + wire(2)))
    const source = createResilientSseSource(httpUpstream(server.url))
    await once(source, 'data')
    source.destroy()
    expect(source.lastEventId).to.equal('2')
    expect(source.stats).to.include({ events: 2 })
  })

  it('are read from the time at which a comment listener is added', async () => {
    const upstream = new Readable({ read() {} })
    const source = createResilientSseSource(() => upstream)
    upstream.push(': one\ndata:1\n\n')
    await once(source, 'data')
    const comment = next(source, 'comment')
    upstream.push(': two\ndata:2\n\n')
    expect(await comment).to.equal('two')
    expect(source.stats.events).to.equal(2)
    source.destroy()
  })

  it('are read after a reconnect, until the window has turned over', async () => {
    const many = (from: number, count: number) =>
      Array.from({ length: count }, (_, n) => wire(from + n).replace('data: ', 'data:')).join('')
    await using server = await serveInTurn(ends(wire(1)), stays(wire(1) + many(2, 1000), many(1002, 1)))
    const source = createResilientSseSource(httpUpstream(server.url), { reconnect: fast })
    let text = ''
    for await (const chunk of source) {
      text += chunk
      if (text.includes('event 1002\n')) break
    }
    // What is read is written anew, with a space.
    expect(text)
      .to.include('data: event 500\n')
      .and.to.match(/data:\s?event 1002\n/)
    expect(text.match(/event 1\n/g)).to.have.length(1)
  })

  it('that were not kept remove older fingerprints, so that events that count from 1 again are not taken for repeats', async () => {
    const events = (from: number, count: number) =>
      Array.from({ length: count }, (_, n) => wire(from + n))
        .join('')
        .match(/[\s\S]{1,10000}/g)
        ?.map((text) => Buffer.from(text)) ?? []
    const connections = [events(1, 500), events(501, 4000), events(1, 600)]
    const { stats } = await outcomeOf(connections, { windowBytes: 2000 })
    expect(stats).to.include({ events: 5100, duplicates: 0 })
  })

  it('do not count as passed on when a listener destroys the source before them', async () => {
    const long = wire(2, 'x'.repeat(10_000))
    const text = wire(1) + long
    const source = createResilientSseSource(() =>
      Readable.from([Buffer.from(text.slice(0, 10)), Buffer.from(text.slice(10))]),
    )
    source.once('data', () => source.destroy())
    await once(source, 'close')
    expect(source.lastEventId).to.equal('1')
    expect(source.stats).to.include({ events: 1 })
  })

  it('stay in order when a listener makes the upstream send more', async () => {
    const upstream = new Readable({ read() {} })
    const source = createResilientSseSource(() => upstream)
    const text = wire(1) + wire(2, 'x'.repeat(10_000))
    let received = ''
    source.on('data', (chunk) => {
      if (received === '') upstream.push(wire(3))
      received += chunk
    })
    upstream.push(text.slice(0, 10))
    upstream.push(text.slice(10))
    await until(
      () => received.length >= text.length + wire(3).length,
      () => received.slice(0, 100),
    )
    expect(received).to.equal(text + wire(3))
    expect(source.lastEventId).to.equal('3')
    source.destroy()
  })

  it('are passed on unread after a reconnect too when repeats are not dropped', async () => {
    const event = 'id:1\ndata:x\n\n'
    await using server = await serveInTurn(ends(event), stays(event))
    const source = createResilientSseSource(httpUpstream(server.url), { reconnect: fast, dedupe: false })
    let text = ''
    for await (const chunk of source) {
      text += chunk
      if (text.length === 2 * event.length) break
    }
    expect(text).to.equal(event + event)
  })
})
