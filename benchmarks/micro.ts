import { createParser } from 'eventsource-parser'
import { do_not_optimize, measure } from 'mitata'
import { delayOf } from '../dist/reconnect/delay.js'
import { EventTracker } from '../dist/resume/tracker.js'
import { BlockScanner } from '../dist/wire/blocks.js'
import { type SseEvent, serializeEvent } from '../dist/wire/event.js'
import { BlockReader } from '../dist/wire/reader.js'
import { EventWriter } from './wire.ts'

/** A part of the library, or of what it is made of, alone. */
interface Micro {
  readonly name: string
  /** How many events one call deals with. */
  readonly events: number
  run(): unknown
}

const eventSize = 120
/** As many as are in 64 KiB. */
const many = 546
const noLimit = 2 ** 24

function micros(): Micro[] {
  const chunk = new EventWriter({ eventSize }).write(1, many)
  const single = chunk.subarray(0, eventSize)
  const events = eventsOf(chunk)
  const [event] = events
  if (!event) throw new Error('no event to measure with')
  const rules = { baseDelay: 1000, maxDelay: 30_000, minDelay: 100, jitter: 0.1, maxRetryAfter: 300_000 }
  let retry = 0
  return [
    {
      name: `eventsource-parser, ${many} events at once`,
      events: many,
      run: () => {
        let count = 0
        const parser = createParser({ onEvent: () => count++ })
        parser.feed(chunk.toString('utf8'))
        return count
      },
    },
    { name: `scanner and reader, ${many} events at once`, events: many, run: () => eventsOf(chunk).length },
    { name: 'scanner and reader, one event a chunk', events: 1, run: readOneByOne(single) },
    { name: `BlockScanner, ${many} events at once`, events: many, run: scanEach([chunk]) },
    {
      name: `BlockScanner, ${many} events at once, CRLF`,
      events: many,
      run: scanEach([Buffer.from(chunk.toString().replaceAll('\n', '\r\n'))]),
    },
    { name: 'BlockScanner, one event a chunk', events: 1, run: scanEach([single]) },
    { name: 'BlockScanner, an event in 2 chunks', events: 1, run: scanEach(parts(single, 2)) },
    ...[8192, 65_536].flatMap((size) =>
      [1, 2, 4].map((count) => ({
        name: `BlockScanner, an event of ${size / 1024} KiB in ${count}`,
        events: 1,
        run: scanEach(parts(new EventWriter({ eventSize: size }).write(1, 1), count)),
      })),
    ),
    { name: 'EventTracker.accept, first connection', events: many, run: () => accept(events, false) },
    { name: 'EventTracker.accept, looking for repeats', events: many, run: () => accept(events, true) },
    { name: 'serializeEvent', events: 1, run: () => serializeEvent(event) },
    {
      name: 'delayOf',
      events: 1,
      run: () => delayOf(rules, { retry: retry++ % 8, reconnectionTime: undefined }, Math.random),
    },
  ]
}

/** Nanoseconds for each event, as a Markdown table; a smoke run calls each thing once. */
export async function micro(quick: boolean): Promise<string> {
  const rows: string[] = []
  for (const { name, events, run } of micros()) {
    if (run() === undefined) throw new Error(`${name} gave nothing`)
    if (quick) {
      rows.push(`- ${name}`)
      continue
    }
    const { min, p50, p99 } = await measure(() => do_not_optimize(run()))
    const cell = (value: number) => (value / events).toFixed(1).padStart(8)
    rows.push(`| ${name.padEnd(42)} | ${cell(min)} | ${cell(p50)} | ${cell(p99)} |`)
  }
  if (quick) return rows.join('\n')
  return [
    `| ns an event ${' '.repeat(30)} |      min |   median |      p99 |`,
    '| --- | ---: | ---: | ---: |',
    ...rows,
  ].join('\n')
}

function eventsOf(chunk: Buffer): SseEvent[] {
  const events: SseEvent[] = []
  readerInto((event) => events.push(event))(chunk)
  return events
}

/** Reads each chunk of one connection, event by event. */
function readerInto(onEvent: (event: SseEvent) => void): (chunk: Buffer) => void {
  const scanner = new BlockScanner(noLimit)
  const reader = new BlockReader({ onEvent, onComment: () => {}, onRetry: () => {} })
  return (chunk) => {
    scanner.push(chunk)
    for (let run = scanner.next(); run !== undefined; run = scanner.next()) reader.read(run)
  }
}

function readOneByOne(single: Buffer): () => number {
  let count = 0
  const read = readerInto(() => {
    count++
  })
  return () => {
    read(single)
    return count
  }
}

/** Scans the same chunks with each call; how many events they had. */
function scanEach(chunks: readonly Buffer[]): () => number {
  const scanner = new BlockScanner(noLimit)
  return () => {
    let events = 0
    for (const chunk of chunks) {
      scanner.push(chunk)
      while (scanner.next() !== undefined) events += scanner.events
    }
    return events
  }
}

function parts(bytes: Buffer, count: number): Buffer[] {
  const size = Math.ceil(bytes.length / count)
  return Array.from({ length: count }, (_, n) => bytes.subarray(n * size, (n + 1) * size))
}

/** All events are fresh; a tracker that no source drives looks always. */
function accept(events: readonly SseEvent[], looking: boolean): number {
  const tracker = new EventTracker()
  if (!looking) tracker.opened()
  let fresh = 0
  for (const event of events) if (tracker.accept(event)) fresh++
  return fresh
}
