import { createParser } from 'eventsource-parser'
import { do_not_optimize, measure } from 'mitata'
import { delayOf } from '../dist/reconnect/delay.js'
import { EventTracker } from '../dist/resume/tracker.js'
import { BlockCutter } from '../dist/wire/blocks.js'
import { type SseEvent, serializeEvent } from '../dist/wire/event.js'
import { EventReader } from '../dist/wire/reader.js'
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
  const chunk = new EventWriter(eventSize).write(1, many)
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
    { name: `EventReader, ${many} events at once`, events: many, run: () => eventsOf(chunk).length },
    { name: 'EventReader, one event a chunk', events: 1, run: readOneByOne(single) },
    {
      name: `BlockCutter, ${many} events at once`,
      events: many,
      run: () => new BlockCutter(noLimit).cut(chunk),
    },
    { name: 'BlockCutter, one event a chunk', events: 1, run: cutOneByOne(single) },
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
  const reader = new EventReader(noLimit, {
    onEvent: (event) => events.push(event),
    onComment: () => {},
    onRetry: () => {},
  })
  reader.read(chunk)
  return events
}

function readOneByOne(single: Buffer): () => number {
  let count = 0
  const reader = new EventReader(noLimit, {
    onEvent: () => {
      count++
    },
    onComment: () => {},
    onRetry: () => {},
  })
  return () => {
    reader.read(single)
    return count
  }
}

function cutOneByOne(single: Buffer): () => Buffer[] {
  const cutter = new BlockCutter(noLimit)
  return () => cutter.cut(single)
}

/** All events are fresh; a tracker that no source drives looks always. */
function accept(events: readonly SseEvent[], looking: boolean): number {
  const tracker = new EventTracker()
  if (!looking) tracker.opened()
  let fresh = 0
  for (const event of events) if (tracker.accept(event)) fresh++
  return fresh
}
