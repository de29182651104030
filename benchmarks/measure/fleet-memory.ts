import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import type { Goal, Result } from '../figures.ts'
import { Fleet } from '../fleet.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'
import { smallYoungGeneration } from './memory.ts'

interface MemoryWorkload {
  readonly title: string
  readonly streams: number
  readonly kinds: readonly KindName[]
  readonly beside: KindName
  readonly subject: KindName
  readonly goal: Goal
}

interface Followed {
  /** Kilobytes (of 1,000 bytes) of resident memory for each stream with its client. */
  readonly resident: number
  /** Kilobytes of live JavaScript objects. */
  readonly heap: number
}

/** Resident memory of a process for each further stream that another process has, and that one client follows. */
export async function measureFleetMemory(bench: Bench, workload: MemoryWorkload): Promise<Result> {
  const { title, streams, kinds, beside, subject, goal } = workload
  const contest = {
    title,
    unit: 'kB a stream',
    kinds,
    beside,
    rounds: Math.min(bench.extent.rounds, 3),
    measure: (kind: KindName) => measureOne(bench, kind, streams),
    value: ({ resident }: Followed) => resident,
    noteOn: (all: readonly Followed[]) =>
      `${spreadOf(all.map(({ heap }) => heap)).median.toFixed(1)} kB of it live objects`,
  }
  const figures = figuresOf(await inTurn(bench, contest), contest)
  return { title, unit: contest.unit, figures, goal, beside, subject }
}

async function measureOne(bench: Bench, kind: KindName, streams: number): Promise<Followed> {
  await using fleet = await Fleet.start(bench, kind, [smallYoungGeneration])
  const { owner, follower } = fleet
  if (!follower) throw new Error(`${kind} has no follower`)
  const plan = { eventSize: 150, pace: 'quiet', withoutIds: true } as const
  await bench.upstream.plan(plan)
  const others = Math.ceil(streams * 0.4)
  await fleet.openAt(owner, plan, others + streams)
  const pause = bench.extent.quick ? 0 : 1000
  // What is loaded and compiled for the first streams belongs to none, as in `idle`.
  await fleet.openAt(follower, plan, others)
  await bench.upstream.go(1)
  await sleep(bench.extent.quick ? 0 : 3000)
  const before = await follower.relay.settledMemory(pause)
  await fleet.openAt(follower, plan, streams, others)
  await bench.upstream.go(1)
  await fleet.settle()
  const after = await follower.relay.settledMemory(pause)
  return {
    resident: (after.rss - before.rss) / streams / 1000,
    heap: (after.heapUsed - before.heapUsed) / streams / 1000,
  }
}
