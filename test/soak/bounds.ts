import { once } from 'node:events'
import { createResilientSseSource, EventTracker } from '../../src/index.ts'
import { usedMemory } from '../support/memory.ts'

/** Bytes that were in use at some points of a run, above what was in use before it. */
export type Retained<Point extends string> = Readonly<Record<Point, number>>

/** What never ends: how it begins, and how it goes on. */
export const endless = {
  'an endless line': ['data: ', 'x'.repeat(16_384)],
  'an endless event': ['', 'data: x\n'.repeat(2048)],
  'an endless comment': [': ', 'x'.repeat(16_384)],
  'an endless event of comments': ['data: x\n', ': x\n'.repeat(4096)],
} as const

export interface EndlessRun extends Retained<'full' | 'after'> {
  /** What it failed with. */
  readonly error: unknown
}

/**
 * Reads what never ends: `full` is shortly before the limit; `after` is when it has failed, with the source gone and its
 * error still there, as in a log that waits to be written.
 */
export async function readEndless(kind: keyof typeof endless, maxEventSize: number): Promise<EndlessRun> {
  const before = await usedMemory()
  let full = 0
  const error = await failureOf(kind, maxEventSize, async () => {
    full = (await usedMemory()) - before
  })
  return { full, after: (await usedMemory()) - before, error }
}

/** @param onFull - Called when what is held back is nearly as large as it may be. */
async function failureOf(
  kind: keyof typeof endless,
  maxEventSize: number,
  onFull: () => Promise<void>,
): Promise<unknown> {
  const [start, more] = endless[kind]
  const source = createResilientSseSource(
    async function* () {
      yield start
      let told = false
      for (let sent = start.length; ; sent += more.length) {
        if (!told && sent > 0.95 * maxEventSize) await onFull()
        told ||= sent > 0.95 * maxEventSize
        yield more
      }
    },
    { maxEventSize },
  )
  const failed = once(source, 'error')
  source.resume()
  const [error] = await failed
  return error
}

/** What there may be many of: the n-th block. */
export const many = {
  'events under one id': (n: number) => `id: one\ndata: ${n}\n\n`,
  'ids of 1 KB': (n: number) => `id: ${String(n).padStart(1024, 'x')}\ndata: x\n\n`,
  'ids of 1 KB without data': (n: number) => `id: ${String(n).padStart(1024, 'x')}\n\n`,
  'events without ids': (n: number) => `data: ${n}\n\n`,
  comments: (n: number) => `: ${n}\n\n`,
} as const

const blocksPerChunk = 100

export interface ManyRun extends Retained<'early' | 'late'> {
  /** Bytes that were read from the source. */
  readonly bytes: number
  readonly opens: number
}

/**
 * Reads `count` blocks, through a drop and a replay after the first twentieth: `early` is after a tenth, `late` is
 * when all were passed on, with the stream still open.
 */
export async function readMany(kind: keyof typeof many, count: number): Promise<ManyRun> {
  const blockOf = many[kind]
  const before = await usedMemory()
  const points = { early: 0, late: 0 }
  let bytes = 0
  let next = 0
  const chunk = () => {
    const blocks = Array.from({ length: blocksPerChunk }, (_, n) => blockOf(next + n)).join('')
    next += blocksPerChunk
    return blocks
  }
  const source = createResilientSseSource(
    async function* ({ lastError }) {
      const isFirst = lastError === undefined
      if (!isFirst) next -= blocksPerChunk
      while (next < (isFirst ? count / 20 : count)) {
        if (points.early === 0 && next >= count / 10) points.early = (await usedMemory()) - before
        yield chunk()
      }
      if (isFirst) return
      // What waits in the stream has to be read first.
      await new Promise((resolve) => setImmediate(resolve))
      points.late = (await usedMemory()) - before
      yield 'data: end\n\n'
    },
    { reconnect: { baseDelay: 1, jitter: 0 }, isTerminal: ({ data }) => data === 'end' },
  )
  source.on('data', (passedOn) => {
    bytes += passedOn.length
  })
  await once(source, 'end')
  return { ...points, bytes, opens: source.stats.opens }
}

/**
 * Fills a tracker's window twice over (`filled`), then reconnects (`reconnected`), fills the window anew (`replaced`),
 * and goes on by one more event (`turnedOver`).
 */
export async function fillTracker(
  windowSize: number,
): Promise<Retained<'filled' | 'reconnected' | 'replaced' | 'turnedOver'>> {
  const before = await usedMemory()
  const tracker = new EventTracker({ windowSize })
  let id = 0
  const accept = (count: number) => {
    for (const end = id + count; id < end; id++) tracker.accept({ id: String(id), data: 'x' })
  }
  const used = async () => (await usedMemory()) - before
  tracker.opened()
  accept(2 * windowSize)
  const filled = await used()
  tracker.opened()
  const reconnected = await used()
  accept(windowSize)
  const replaced = await used()
  accept(1)
  const turnedOver = await used()
  // Alive until here, and at work.
  if (tracker.duplicates > 0) throw new Error('no event came twice')
  return { filled, reconnected, replaced, turnedOver }
}

const full = { blocks: 1_000_000, maxEventSize: 16 * 1024 * 1024, windows: [1000, 1_000_000] }

/** All of it in full length; says what it finds. */
export async function runBounds(say: (text: string) => void): Promise<void> {
  for (const kind of keysOf(endless)) {
    const { error, ...retained } = await readEndless(kind, full.maxEventSize)
    say(`${kind}, maxEventSize ${mib(full.maxEventSize)}: ${described(retained)}; ${String(error)}`)
  }
  for (const kind of keysOf(many)) {
    const { bytes, opens, ...retained } = await readMany(kind, full.blocks)
    say(`${full.blocks} ${kind} (${mib(bytes)} read, ${opens} connections): ${described(retained)}`)
  }
  for (const windowSize of full.windows) {
    say(`a tracker with windowSize ${windowSize}: ${described(await fillTracker(windowSize))}`)
  }
}

export function keysOf<K extends string>(record: Readonly<Record<K, unknown>>): K[] {
  const keys: K[] = []
  for (const key in record) keys.push(key)
  return keys
}

function described(retained: Retained<string>): string {
  return Object.entries(retained)
    .map(([point, bytes]) => `${point} ${mib(bytes)}`)
    .join(', ')
}

function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(2)} MiB`
}
