import { expect } from 'chai'
import { createParser } from 'eventsource-parser'
import fc from 'fast-check'
import { sharedChunkOf } from '../../src/http/shared-chunk.ts'
import type { Piece } from '../../src/hub/batch.ts'
import { IdInserter } from '../../src/hub/id-inserter.ts'
import { formatId } from '../../src/hub/position-id.ts'
import { BlockScanner } from '../../src/wire/blocks.ts'
import { type SseEvent, serializeEvent } from '../../src/wire/event.ts'
import { BlockReader } from '../../src/wire/reader.ts'

const epoch = 1_764_000_000_000

/** The whole blocks of a stream, as they reach a sink: those that the scanner says must be read are written anew. */
function runsOf(chunks: readonly Buffer[]): Buffer[] {
  const scanner = new BlockScanner(1_000_000)
  const runs: Buffer[] = []
  for (const chunk of chunks) {
    scanner.push(chunk)
    for (let run = scanner.next(); run; run = scanner.next()) {
      runs.push(scanner.mustRead ? Buffer.from(parse(run).map(serializeEvent).join('')) : Buffer.from(run))
    }
  }
  return runs
}

/** The blocks of whole runs, those without data included. */
function parse(run: Buffer): SseEvent[] {
  const events: SseEvent[] = []
  const reader = new BlockReader({
    onEvent: (event) => events.push(event),
    onComment: () => {},
    onRetry: () => {},
  })
  reader.read(run)
  return events
}

/** What the hub sends for parsed events. */
function serialized(events: readonly SseEvent[], start: string | undefined) {
  let cursor = start
  const out: { readonly text: string; readonly cursor: string | undefined }[] = []
  for (const { id, event, data } of events) {
    if (id !== undefined) cursor = id || undefined
    if (data === undefined) continue
    const text = serializeEvent({ id: formatId({ epoch, seq: out.length + 1 }, cursor), event, data })
    out.push({ text, cursor })
  }
  return out
}

/** The events that a client sees. */
function seen(bytes: Buffer | string) {
  const events: unknown[] = []
  const others: string[] = []
  const parser = createParser({
    onEvent: ({ id, event, data }) => events.push({ id, event, data }),
    onComment: (comment) => others.push(comment),
    onRetry: (retry) => others.push(`retry ${retry}`),
  })
  parser.feed(bytes.toString())
  return { events, others }
}

function bytesOf(pieces: readonly Piece[]): Buffer {
  return Buffer.concat(pieces.map(({ bytes }) => bytes))
}

const value = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }).map((text) => text.replace(/[\r\n]/g, '')),
  fc.string({ unit: fc.constantFrom(':', ' ', '\0', '/', 'é', '%', '"', 'a', '\ufeff'), maxLength: 6 }),
  fc.nat(300).map((length) => 'x'.repeat(length)),
)
// Rarely what makes a scanner say that the blocks must be read.
const name = fc.oneof(
  {
    weight: 60,
    arbitrary: fc.constantFrom('data', 'data', 'id', 'id', 'event', 'dat', 'dash', 'idx', 'i', ''),
  },
  { weight: 1, arbitrary: fc.constant('retry') },
)
const lineEnd = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom('\n', '\n', '\r\n') },
  { weight: 1, arbitrary: fc.constant('\r') },
)
const line = fc.oneof(
  fc.tuple(name, fc.constantFrom(':', ': ', ' :', ''), value).map((parts) => parts.join('')),
  value,
)
const block = fc.tuple(fc.array(line, { maxLength: 5 }), lineEnd)
const stream = fc
  .array(block, { maxLength: 12 })
  .map((blocks) => Buffer.from(blocks.map(([lines, end]) => [...lines, '', ''].join(end)).join('')))
/** Bytes that are not UTF-8, too. */
const damaged = fc.tuple(
  stream,
  fc.array(fc.tuple(fc.nat(), fc.integer({ min: 128, max: 255 })), { maxLength: 2 }),
)
const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 })

describe('the insertion of ids into blocks that are not parsed', () => {
  it('gives clients the same events, ids and cursors as parsed and serialized blocks', () => {
    fc.assert(
      fc.property(
        damaged,
        cuts,
        fc.option(
          value.map((text) => text.replaceAll('\0', '')),
          { nil: undefined },
        ),
        fc.constantFrom(1, 50, 200, 65_536),
        ([bytes, damage], at, start, most) => {
          for (const [place, byte] of damage) if (bytes.length > 0) bytes[place % bytes.length] = byte
          const places = [0, ...at.map((share) => Math.floor(share * bytes.length)).sort((a, b) => a - b)]
          const chunks = places.map((from, index) => bytes.subarray(from, places[index + 1]))
          const runs = runsOf(chunks)
          const cursor = start || undefined
          const inserter = new IdInserter(epoch, cursor, most)
          const pieces = runs.flatMap((run) => {
            const inserted = inserter.insert(run)
            // As the buffer of a connection does.
            run.fill(0)
            return inserted
          })
          const expected = serialized(runsOf(chunks).flatMap(parse), cursor)
          const out = bytesOf(pieces)
          expect(seen(out)).to.deep.equal({
            events: seen(expected.map(({ text }) => text).join('')).events,
            others: [],
          })
          // Each event has one blank line, by which its end is found.
          expect(out.toString('latin1').split('\n\n').length - 1).to.equal(expected.length)
          let next = 1
          for (const piece of pieces) {
            expect(piece.first).to.equal(next)
            next = piece.last + 1
            expect(seen(piece.bytes).events.length).to.equal(next - piece.first)
            expect(piece.cursor).to.equal(expected[piece.last - 1]?.cursor)
            if (piece.last > piece.first) expect(piece.bytes.length).to.be.at.most(most)
          }
          expect(next).to.equal(expected.length + 1)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('keeps the lines as the upstream has sent them, except ids, comments and line ends', () => {
    const inserter = new IdInserter(epoch, undefined, 1000)
    const pieces = inserter.insert(
      Buffer.from(
        ': a comment\n\nevent:  a\ndata:x\ndata\nfoo: bar\n: another\nid: 5\ndata: y\n\n' +
          'id:6\r\ndata: z\r\n\r\nid: 7\n\ndata: last\n\nid\ndata: none\n\n',
      ),
    )
    expect(`${bytesOf(pieces)}`).to.equal(
      `id: ${epoch}-1/5\nevent:  a\ndata:x\ndata\nfoo: bar\ndata: y\n\n` +
        `id: ${epoch}-2/6\ndata: z\n\nid: ${epoch}-3/7\ndata: last\n\nid: ${epoch}-4\ndata: none\n\n`,
    )
  })

  it('puts an event that is larger than a piece into a piece of its own', () => {
    const inserter = new IdInserter(epoch, 'c', 100)
    const large = `data: ${'x'.repeat(1000)}\n`
    const pieces = inserter.insert(
      Buffer.from(`data: a\n\ndata: b\n\n${large}\ndata: c\n\n${large}${large}\n`),
    )
    expect(pieces.map(({ first, last, bytes }) => [first, last, bytes.length > 100])).to.deep.equal([
      [1, 2, false],
      [3, 3, true],
      [4, 4, false],
      [5, 5, true],
    ])
    expect(seen(bytesOf(pieces)).events.length).to.equal(5)
  })

  it('puts large pieces into the memory of their chunks, which clients then need no copy for', () => {
    const inserter = new IdInserter(epoch, undefined, 60_000)
    const blocks = ['x'.repeat(40_000), 'y'.repeat(19_000), 'z'.repeat(70_000)].map(
      (text) => `data: ${text}\n\n`,
    )
    const pieces = inserter.insert(Buffer.from(blocks.join('')))
    expect(pieces.map(({ first, last }) => [first, last])).to.deep.equal([
      [1, 2],
      [3, 3],
    ])
    for (const { bytes } of pieces) expect(sharedChunkOf(bytes).buffer).to.equal(bytes.buffer)
  })
})
