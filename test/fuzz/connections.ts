import { expect } from 'chai'
import fc from 'fast-check'
import { encodeLastEventId } from '../../src/http/fields.ts'
import {
  createResilientSseSource,
  EventTracker,
  type ResilientSseSource,
  type SseEvent,
  serializeEvent,
  type Upstream,
  type UpstreamContext,
} from '../../src/index.ts'
import { drain } from '../support/events.ts'
import { chunksOf, cuts, type Item, itemsOf, plain } from '../support/model.ts'
import { type BodyEnd, type BodyKind, bodyKinds, bodyOf, noContent } from './bodies.ts'
import { NaiveTracker } from './naive-tracker.ts'
import { expectItems } from './wire.ts'

type Failure = 'throws' | 'rejects' | 503 | 429

/** One connection of the upstream, and the failed attempts before it. */
interface ConnectionPlan {
  readonly failures: readonly Failure[]
  /** The number of events that the connection repeats before the last event ID. */
  readonly overlap: number
  /** The number of bytes that arrive; undefined: all. */
  readonly size: number | undefined
  readonly chunks: 'everywhere' | readonly number[]
  readonly kind: BodyKind
  readonly end: BodyEnd
  readonly mark: boolean
  readonly lineEnd: string
  readonly comments: boolean
  readonly reconnectionTime: string | undefined
}

interface Plan {
  readonly log: readonly SseEvent[]
  readonly connections: readonly ConnectionPlan[]
  readonly windowSize: number
  /** Whether the cursor is taken from the data. */
  readonly withCursor: boolean
  /** Bytes added to the data of each event, so that the log may be larger than the bytes that are kept of it. */
  readonly padding: number
}

/** The expected course of a run, computed with a list of all events. */
interface Course {
  /** The arguments and the answer of each call of the factory. */
  readonly calls: {
    readonly lastEventId: string
    readonly cursor: string | undefined
    readonly answer: () => Upstream
    /** Whether the upstream has set a reconnection time by the end of this call's connection. */
    readonly timeSet: boolean
  }[]
  readonly items: Item[]
  readonly events: SseEvent[]
  duplicates: number
  gaps: number
}

const ids = fc.oneof(
  fc.constant('own' as const),
  fc.constant('own' as const),
  fc.constant(undefined),
  fc.constantFrom('', '1', '7', 'a b', 'é日😀', 'a\x01b'),
)

/** A log whose events all differ, but whose ids may repeat. */
const log: fc.Arbitrary<SseEvent[]> = fc
  .array(
    fc.record({
      id: ids,
      event: fc.constantFrom(undefined, undefined, 'a'),
      data: fc.constantFrom('', '\ntwo\n', ': é', undefined),
    }),
    { maxLength: 14 },
  )
  .map((blocks) =>
    blocks.map(({ id, event, data }, n) => ({
      ...(id !== undefined && { id: id === 'own' ? `${n}` : id }),
      ...(data === undefined && id !== undefined ? {} : { data: `${n}${data ?? ''}`, event }),
    })),
  )

const connection: fc.Arbitrary<ConnectionPlan> = fc.record({
  failures: fc.oneof(
    { arbitrary: fc.constant([]), weight: 3 },
    {
      arbitrary: fc.array(fc.constantFrom<Failure[]>('throws', 'rejects', 503, 429), { maxLength: 2 }),
      weight: 1,
    },
  ),
  overlap: fc.nat(4),
  size: fc.option(fc.oneof(fc.nat(300), fc.nat(150_000)), { nil: undefined }),
  chunks: cuts,
  kind: bodyKinds,
  end: fc.constantFrom('end', 'reset'),
  mark: fc.boolean(),
  lineEnd: fc.constantFrom('\n', '\n', '\r', '\r\n'),
  comments: fc.boolean(),
  reconnectionTime: fc.constantFrom(undefined, undefined, undefined, '0', '9'),
})

const plan: fc.Arbitrary<Plan> = fc.record({
  log,
  connections: fc.array(connection, { maxLength: 4 }),
  windowSize: fc.oneof(
    { arbitrary: fc.constant(1000), weight: 3 },
    { arbitrary: fc.integer({ min: 1, max: 8 }), weight: 1 },
  ),
  withCursor: fc.constantFrom(false, false, true),
  padding: fc.oneof(
    { arbitrary: fc.constant(0), weight: 12 },
    { arbitrary: fc.constantFrom(1000, 12_000), weight: 1 },
  ),
})

/** The last connection delivers the rest of the log. */
const last: ConnectionPlan = {
  failures: [],
  overlap: 0,
  size: undefined,
  chunks: [],
  kind: 'readable',
  end: 'end',
  mark: false,
  lineEnd: '\n',
  comments: false,
  reconnectionTime: undefined,
}

const cursorOf = ({ data }: SseEvent) => (data?.endsWith(': é') ? `after ${data}` : undefined)

/** The bytes that an upstream sends after this last event ID. Where several events have the id, the first one counts. */
function bytesOf(log: readonly SseEvent[], lastEventId: string, plan: ConnectionPlan): Buffer {
  const place = lastEventId === '' ? 0 : log.findIndex(({ id }) => id === lastEventId) + 1
  const start = Math.max(0, place - plan.overlap)
  const text = log
    .slice(start)
    .map((event, n) => (plan.comments && n % 2 === 0 ? `: ${start + n}\n` : '') + serializeEvent(event))
    .join('')
  const retry = plan.reconnectionTime === undefined ? '' : `retry: ${plan.reconnectionTime}\n`
  const bytes = Buffer.from((plan.mark ? '\ufeff' : '') + (retry + text).replaceAll('\n', plan.lineEnd))
  return bytes.subarray(0, plan.size)
}

/** Cuts large bytes at fewer places, because cutting them everywhere takes too long. */
function placesFor(bytes: Buffer, at: ConnectionPlan['chunks']): ConnectionPlan['chunks'] {
  if (at !== 'everywhere' || bytes.length < 2000) return at
  return Array.from({ length: Math.ceil(bytes.length / 1021) }, (_, n) => n * 1021)
}

function failWith(failure: Failure): Upstream {
  if (failure === 'throws' || failure === 'rejects') throw new Error(failure)
  return { statusCode: failure, headers: { 'retry-after-ms': '0' }, body: (async function* () {})() }
}

function courseOf({ log, connections, windowSize, withCursor }: Plan): Course {
  const course: Course = { calls: [], items: [], events: [], duplicates: 0, gaps: 0 }
  const tracker = new NaiveTracker(windowSize)
  let lastEventId = ''
  let ownCursor: string | undefined
  let timeSet = false
  const cursor = () => ownCursor ?? (lastEventId === '' ? undefined : lastEventId)
  const call = (answer: () => Upstream) =>
    course.calls.push({ lastEventId, cursor: cursor(), answer, timeSet })
  for (const plan of [...connections, last]) {
    for (const failure of plan.failures) call(() => failWith(failure))
    const bytes = bytesOf(log, lastEventId, plan)
    const items = itemsOf(bytes)
    timeSet ||= items.some((item) => 'reconnectionTime' in item)
    call(() => bodyOf(chunksOf(bytes, placesFor(bytes, plan.chunks)), plan.kind, plan.end).stream)
    tracker.opened()
    const sent = withCursor ? cursor() : encodeLastEventId(lastEventId)
    const passedOn = course.events.some(({ data }) => data !== undefined)
    if (sent === undefined && (passedOn || lastEventId !== '')) course.gaps++
    for (const item of items) {
      if ('comment' in item) course.items.push(item)
      if (!('block' in item)) continue
      if (!tracker.accept(item.block)) {
        // A block with an id alone is not an event.
        if (item.block.data !== undefined) course.duplicates++
        continue
      }
      lastEventId = item.block.id ?? lastEventId
      if (withCursor && item.block.data !== undefined) ownCursor = cursorOf(item.block) ?? ownCursor
      course.items.push(item)
      course.events.push({ ...item.block, lastEventId })
    }
  }
  call(noContent)
  return course
}

/** Runs a source over the connections of the course, checks the calls and the stats, and returns the source's chunks. */
async function run<Chunk>(
  { windowSize, withCursor }: Plan,
  course: Course,
  make: (factory: (context: UpstreamContext) => Upstream, options: object) => ResilientSseSource<Chunk>,
): Promise<Chunk[]> {
  const contexts: UpstreamContext[] = []
  const factory = (context: UpstreamContext): Upstream => {
    contexts.push(context)
    return (course.calls[contexts.length - 1]?.answer ?? noContent)()
  }
  const source = make(factory, {
    tracker: new EventTracker({ windowSize }),
    ...(withCursor && { cursor: cursorOf }),
    reconnect: { baseDelay: 1, minDelay: 1, maxDelay: 1, jitter: 0, maxRetries: Number.POSITIVE_INFINITY },
  })
  source.on('retry', ({ source: setBy }) => {
    const { timeSet } = course.calls[contexts.length - 1] ?? {}
    if (setBy === 'retry') expect(timeSet).to.equal(true)
    if (setBy === 'backoff') expect(timeSet).to.equal(false)
  })
  const { chunks, error } = await drain(source)
  expect(error).to.equal(undefined)
  const seen = contexts.map(({ lastEventId, cursor, headers }) => ({
    lastEventId,
    cursor,
    header: headers['last-event-id'],
  }))
  expect(seen).to.deep.equal(
    course.calls.map(({ lastEventId, cursor }) => ({
      lastEventId,
      cursor,
      header: encodeLastEventId(lastEventId),
    })),
  )
  const { events, duplicates, gaps } = source.stats
  expect({ events, duplicates, gaps }).to.deep.equal({
    events: course.events.filter(({ data }) => data !== undefined).length,
    duplicates: course.duplicates,
    gaps: course.gaps,
  })
  return chunks
}

function padded(event: SseEvent, padding: number): SseEvent {
  return event.data === undefined ? event : { ...event, data: 'x'.repeat(padding) + event.data }
}

/** Expects each event with an id once, in the order of the log. */
function expectOnceInOrder({ log, windowSize }: Plan, events: readonly SseEvent[]): void {
  // With a window that is smaller than a replay, only the end of the replay is detected.
  if (windowSize < 1000) return
  const withIds = (all: readonly SseEvent[]) =>
    all.filter(({ id, data }) => id && data !== undefined).map(({ id, data }) => `${id}\n${data}`)
  expect(withIds(events)).to.deep.equal(withIds(log))
}

export const anyConnections = fc.asyncProperty(plan, async ({ log, ...rest }) => {
  const plan = { ...rest, log: log.map((event) => padded(event, rest.padding)) }
  const course = courseOf(plan)
  const events = await run(plan, course, (factory, options) =>
    createResilientSseSource(factory, { ...options, objectMode: true }),
  )
  const asRead = events.map(({ lastEventId, ...event }) => ({ ...plain(event), lastEventId }))
  expect(asRead).to.deep.equal(course.events)
  expectOnceInOrder(plan, events)
  const out = await run(plan, course, (factory, options) =>
    createResilientSseSource(factory, { ...options, objectMode: false }),
  )
  expectItems(Buffer.concat(out), course.items)
})
