import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import fc from 'fast-check'
import { createResilientSseSource, SseError, type Upstream, type UpstreamContext } from '../../src/index.ts'
import { chunksOf, cuts, streamBytes } from '../support/model.ts'
import { until } from '../support/until.ts'
import { type Body, bodyKinds, bodyOf, chunkAs, chunkTypes, noContent } from './bodies.ts'

/** The outcome of an attempt. */
type Answer =
  | { readonly body: Parameters<typeof bodyOf> }
  | { readonly status: number; readonly contentType: string }
  | { readonly thrown: unknown }
  | { readonly rejected: unknown }
  | { readonly junk: unknown }
  | 'never'

interface Stop {
  /** The event at whose `count`-th emission the source is stopped. */
  readonly at: 'data' | 'open' | 'drop' | 'retry' | 'comment'
  readonly count: number
  readonly by: 'destroy' | 'destroy with an error' | 'abort'
  /** Whether to stop one turn after the listener's call. */
  readonly later: boolean
}

interface Faults {
  readonly answers: readonly Answer[]
  readonly objectMode: boolean
  readonly highWaterMark: number | undefined
  readonly stop: Stop | undefined
}

const thrown = fc.constantFrom<unknown[]>(new Error('mine'), 'text', undefined, null, 7)
const junkChunk = fc.constantFrom<unknown[]>(5, true, {}, [], new Uint16Array(3), Symbol.iterator)

const body = fc
  .record({
    bytes: streamBytes,
    at: cuts,
    type: chunkTypes,
    junk: fc.option(fc.tuple(junkChunk, fc.nat(20)), { nil: undefined, freq: 12 }),
    kind: bodyKinds,
    end: fc.constantFrom('end', 'end', 'reset', 'reset', 'stay'),
  })
  .map(({ bytes, at, type, junk, kind, end }): Answer => {
    const chunks: unknown[] = chunksOf(bytes, at).map((chunk) => chunkAs(type, chunk))
    if (junk) chunks.splice(junk[1] % (chunks.length + 1), 0, junk[0])
    return { body: [chunks, kind, end] }
  })

const answer: fc.Arbitrary<Answer> = fc.oneof(
  { arbitrary: body, weight: 12 },
  {
    arbitrary: fc.record({
      status: fc.constantFrom(200, 204, 301, 401, 404, 429, 500, 503),
      contentType: fc.constantFrom('text/event-stream', 'text/html'),
    }),
    weight: 2,
  },
  { arbitrary: fc.record({ thrown }), weight: 1 },
  { arbitrary: fc.record({ rejected: thrown }), weight: 1 },
  { arbitrary: fc.record({ junk: fc.constantFrom<unknown[]>(undefined, null, 5, 'x', {}, []) }), weight: 1 },
  { arbitrary: fc.constant('never' as const), weight: 1 },
)

const faults: fc.Arbitrary<Faults> = fc.record({
  answers: fc.array(answer, { minLength: 1, maxLength: 5 }),
  objectMode: fc.boolean(),
  highWaterMark: fc.constantFrom(undefined, 1),
  stop: fc.option(
    fc.record({
      at: fc.constantFrom('data', 'data', 'open', 'drop', 'retry', 'comment'),
      count: fc.integer({ min: 1, max: 6 }),
      by: fc.constantFrom('destroy', 'destroy with an error', 'abort'),
      later: fc.boolean(),
    }),
    { nil: undefined, freq: 4 },
  ),
})

/** The errors that stayed uncaught while `action` ran. */
async function uncaughtIn(action: () => Promise<void>): Promise<unknown[]> {
  const uncaught: unknown[] = []
  const note = (error: unknown) => uncaught.push(error)
  process.on('unhandledRejection', note).on('uncaughtException', note)
  try {
    await action()
    // Node reports unhandled rejections at the end of a turn.
    await nextTurn()
    await nextTurn()
  } finally {
    process.off('unhandledRejection', note).off('uncaughtException', note)
  }
  return uncaught
}

const destroyedWith = new Error('destroyed')

async function runFaults({ answers, objectMode, highWaterMark, stop }: Faults): Promise<void> {
  const bodies: Body[] = []
  const pending: AbortSignal[] = []
  const controller = new AbortController()
  let attempts = 0
  const factory = (context: UpstreamContext): Upstream | Promise<Upstream> =>
    answerWith(answers[attempts++], context, bodies, pending)
  const source = createResilientSseSource(factory, {
    objectMode,
    highWaterMark,
    signal: controller.signal,
    connectTimeout: 5,
    idleTimeout: 5,
    reconnect: { baseDelay: 1, minDelay: 1, maxDelay: 1, maxRetryAfter: 1, jitter: 0, maxRetries: 4 },
  })
  let stopped = false
  let failure: Error | undefined
  const late: string[] = []
  const counts = new Map<string, number>()
  const end = () => {
    stopped = true
    if (stop?.by === 'destroy') source.destroy()
    else if (stop?.by === 'abort') controller.abort()
    else source.destroy(destroyedWith)
  }
  for (const event of ['data', 'open', 'drop', 'retry', 'comment', 'gap', 'duplicate', 'end'] as const) {
    source.on(event, () => {
      if (stopped) late.push(event)
      const count = (counts.get(event) ?? 0) + 1
      counts.set(event, count)
      if (stop?.at !== event || stop.count !== count || stopped) return
      if (stop.later) setImmediate(end)
      else end()
    })
  }
  source.on('error', (error) => {
    failure = error
  })
  await until(
    () => source.closed,
    () => `the source closes; its state is ${source.state}`,
  )
  if (stop?.later) await nextTurn()
  expect(late).to.deep.equal([])
  expect(source.state).to.equal('ended')
  expectKnown(failure, stopped, answers.slice(0, attempts))
  await until(
    () => bodies.every(({ released }) => released()) && pending.every(({ aborted }) => aborted),
    () => 'all bodies are released and all pending attempts aborted',
  )
}

function answerWith(
  answer: Answer | undefined,
  { signal }: UpstreamContext,
  bodies: Body[],
  pending: AbortSignal[],
): Upstream | Promise<Upstream> {
  if (answer === undefined) return noContent()
  if (answer === 'never') {
    pending.push(signal)
    return new Promise(() => {})
  }
  if ('thrown' in answer) throw answer.thrown
  if ('rejected' in answer) return Promise.reject(answer.rejected)
  // An untyped factory may return any value.
  if ('junk' in answer) return Object.getOwnPropertyDescriptor(answer, 'junk')?.value
  const body = 'body' in answer ? bodyOf(...answer.body) : bodyOf([': x\n\n'], 'readable', 'stay')
  bodies.push(body)
  if ('body' in answer) return body.stream
  const headers = { 'content-type': answer.contentType, 'retry-after': '0' }
  return { statusCode: answer.status, headers, body: body.stream }
}

/** Expects the reader's own error, an `SseError`, or a `TypeError` for an invalid upstream or chunk. */
function expectKnown(failure: Error | undefined, stopped: boolean, answers: readonly Answer[]): void {
  if (failure === undefined || failure instanceof SseError) return
  if (stopped && (failure === destroyedWith || failure.name === 'AbortError')) return
  expect(failure).to.be.instanceOf(TypeError)
  const last = answers.at(-1)
  const isJunk =
    typeof last === 'object' &&
    ('junk' in last || ('body' in last && last.body[0].some((chunk) => !isBytes(chunk))))
  expect(isJunk, String(failure)).to.equal(true)
}

const isBytes = (chunk: unknown) => typeof chunk === 'string' || chunk instanceof Uint8Array

export const anyFaults = fc.asyncProperty(faults, async (faults) => {
  expect(await uncaughtIn(() => runFaults(faults))).to.deep.equal([])
})
