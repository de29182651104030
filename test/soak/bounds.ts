import { once } from 'node:events'
import { createResilientSseSource, EventTracker } from '../../src/index.ts'
import { usedMemory } from '../support/memory.ts'

/** Bytes in use at some points of a run, minus the bytes in use before the run. */
export type Retained<Point extends string> = Readonly<Record<Point, number>>

/** Endless input: its first bytes, and the bytes that repeat after them. */
export const endless = {
  'an endless line': ['data: ', 'x'.repeat(16_384)],
  'an endless event': ['', 'data: x\n'.repeat(2048)],
  'an endless comment': [': ', 'x'.repeat(16_384)],
  'an endless event of comments': ['data: x\n', ': x\n'.repeat(4096)],
} as const

export interface EndlessRun extends Retained<'full' | 'after'> {
  /** The error that the source failed with. */
  readonly error: unknown
}

/**
 * Reads endless input. `full` is measured shortly before the limit; `after` is measured after the failure, without the source
 * but with its error, which a program may keep, for example in a log.
 */
export async function readEndless(kind: keyof typeof endless, maxEventSize: number): Promise<EndlessRun> {
  const before = await usedMemory()
  let full = 0
  const error = await failureOf(kind, maxEventSize, async () => {
    full = (await usedMemory()) - before
  })
  return { full, after: (await usedMemory()) - before, error }
}

/** @param onFull - Called when the held bytes have nearly reached the limit. */
async function failureOf(
  kind: keyof typeof endless,
  maxEventSize: number,
  onFull: () => Promise<void>,
): Promise<unknown> {
  const [start, more] = endless[kind]
  const source = createResilientSseSource(
    async function* () {
      yield start
      let isMeasured = false
      for (let sent = start.length; ; sent += more.length) {
        if (!isMeasured && sent > 0.95 * maxEventSize) await onFull()
        isMeasured ||= sent > 0.95 * maxEventSize
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

/** Input of many blocks: each function returns block n. */
export const many = {
  'events under one id': (n: number) => `id: one\ndata: ${n}\n\n`,
  'ids of 1 KB': (n: number) => `id: ${String(n).padStart(1024, 'x')}\ndata: x\n\n`,
  'ids of 1 KB without data': (n: number) => `id: ${String(n).padStart(1024, 'x')}\n\n`,
  'events without ids': (n: number) => `data: ${n}\n\n`,
  comments: (n: number) => `: ${n}\n\n`,
} as const

const blocksPerChunk = 100

export interface ManyRun extends Retained<'early' | 'late'> {
  /** The bytes that were read from the source. */
  readonly bytes: number
  readonly opens: number
}

/**
 * Reads `count` blocks, with a drop and a replay after the first twentieth. `early` is measured after a tenth of the blocks;
 * `late` is measured after all blocks, with the stream still open.
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
      // The stream's buffer has to be read first.
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
 * Measures a tracker after twice `windowSize` events (`filled`), after a reconnect (`reconnected`), after `windowSize` more
 * events (`replaced`), and after one further event (`turnedOver`).
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
  // Keeps the tracker in memory until here.
  if (tracker.duplicates > 0)
    throw new Error('the tracker has found duplicates, but every event was different')
  return { filled, reconnected, replaced, turnedOver }
}

const full = { blocks: 1_000_000, maxEventSize: 16 * 1024 * 1024, windows: [1000, 1_000_000] }

/** Runs all measurements at full size, and prints the results. */
export async function runBounds(print: (text: string) => void): Promise<void> {
  for (const kind of keysOf(endless)) {
    const { error, ...retained } = await readEndless(kind, full.maxEventSize)
    print(`${kind}, maxEventSize ${mib(full.maxEventSize)}: ${described(retained)}; ${String(error)}`)
  }
  for (const kind of keysOf(many)) {
    const { bytes, opens, ...retained } = await readMany(kind, full.blocks)
    print(`${full.blocks} ${kind} (${mib(bytes)} read, ${opens} connections): ${described(retained)}`)
  }
  for (const windowSize of full.windows) {
    print(`a tracker with windowSize ${windowSize}: ${described(await fillTracker(windowSize))}`)
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
