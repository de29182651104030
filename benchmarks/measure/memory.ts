import type { Bench } from '../bench-context.ts'
import type { Goal, Result } from '../figures.ts'
import { streamsThatFit } from '../machine.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'

/**
 * V8 lets the young generation grow with how fast objects are made, while streams are opened to 100 MB (Node 24), and
 * keeps it: that belongs to the process, and would be counted as its streams'.
 */
export const smallYoungGeneration = '--max-semi-space-size=4'

export interface MemoryWorkload {
  readonly title: string
  readonly streams: number
  readonly kinds: readonly KindName[]
  readonly goal: Goal
}

interface PerStream {
  /** Kilobytes (of 1,000 bytes) of resident memory. */
  readonly resident: number
  /** Kilobytes of live JavaScript objects. */
  readonly heap: number
}

/** Resident memory of a fresh relay process per open, quiet stream, beside as many streams that are open already. */
export async function measureMemory(bench: Bench, workload: MemoryWorkload): Promise<Result> {
  const { goal } = workload
  const streams = Math.floor(streamsThatFit(2 * workload.streams) / 2)
  const contest = {
    title: `${workload.title}, ${streams.toLocaleString('en')} streams`,
    unit: 'kB a stream',
    kinds: workload.kinds,
    rounds: Math.min(bench.extent.rounds, 3),
    measure: (kind: KindName) => measureOne(bench, kind, streams),
    value: ({ resident }: PerStream) => resident,
    noteOn: (all: readonly PerStream[]) =>
      `${spreadOf(all.map(({ heap }) => heap)).median.toFixed(1)} kB of it live objects`,
  }
  const figures = figuresOf(await inTurn(bench, contest), contest)
  return { title: contest.title, unit: contest.unit, figures, goal }
}

async function measureOne(bench: Bench, kind: KindName, streams: number): Promise<PerStream> {
  const { upstream, client, extent } = bench
  const plan = { eventSize: 120, pace: 'quiet' } as const
  const relay = await bench.freshRelay(kind, [smallYoungGeneration])
  const pause = extent.quick ? 0 : 300
  await upstream.plan(plan)
  // What is loaded and compiled for streams belongs to none: V8 compiles what has run a thousand times. Streams that are closed
  // again would leave memory for those that are measured.
  await client.open({ url: relay.url, streams, eventSize: plan.eventSize })
  const before = await relay.settledMemory(pause)
  await client.open({ url: relay.url, streams, eventSize: plan.eventSize })
  const after = await relay.settledMemory(pause)
  await upstream.go()
  await client.settle(await upstream.halt())
  await bench.close(kind)
  await bench.release(relay)
  return {
    resident: (after.rss - before.rss) / streams / 1000,
    heap: (after.heapUsed - before.heapUsed) / streams / 1000,
  }
}
