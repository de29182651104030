import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import type { Goal, Result } from '../figures.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'

export interface ReturnWorkload {
  readonly title: string
  /** The upstream ends all streams cleanly and stays; or it goes, and comes back on its port. */
  readonly drop: 'clean end' | 'outage'
  readonly streams: number
  readonly kinds: readonly KindName[]
  /** The kind that the others are compared with, where there is one. */
  readonly beside?: KindName
  /** For the time until the last is back. */
  readonly goal?: Goal
  /** For the CPU time of a stream. */
  readonly costGoal?: Goal
}

/** What happened in one round. */
interface Returned {
  /** Milliseconds until all streams were back, and until half of them were. */
  readonly last: number
  readonly median: number
  readonly missing: number
  /** Microseconds of CPU time for each stream. */
  readonly cost: number
}

const eventSize = 120
/** A round is 200 returns, and a server that has run for an hour has compiled the code of a return. */
const manyRounds = 6
/** Longer than the time between two opens that the library keeps at least. */
const lifetime = 1500
/** Between the library's second attempt and its third. */
const outage = 2500

/** From the drop's end (the clean end, or the upstream's return) to the next event at each client, and what it costs. */
export async function measureReturn(bench: Bench, workload: ReturnWorkload): Promise<Result[]> {
  const { title, goal, costGoal, kinds, beside } = workload
  const contest = {
    title,
    unit: 'ms to the last',
    kinds,
    beside,
    rounds: bench.extent.rounds,
    warmUp: workload.drop === 'clean end' ? manyRounds : 1,
    measure: (kind: KindName) => measureOne(bench, workload, kind),
    value: ({ last }: Returned) => last,
    noteOn: (all: readonly Returned[]) => {
      const missing = all.reduce((sum, round) => sum + round.missing, 0)
      const median = spreadOf(all.map((round) => round.median)).median
      return missing > 0 ? `${missing} did not return` : `half of them after ${median.toFixed(0)}`
    },
  }
  const samples = await inTurn(bench, contest)
  const compared = beside && { beside }
  const cost = { beside, value: (round: Returned) => round.cost }
  return [
    { title, unit: contest.unit, figures: figuresOf(samples, contest), goal, ...compared },
    {
      title: `${title}, CPU`,
      unit: 'µs CPU a stream',
      figures: figuresOf(samples, cost),
      goal: costGoal,
      ...compared,
    },
  ]
}

async function measureOne(
  bench: Bench,
  { streams, drop }: ReturnWorkload,
  kind: KindName,
): Promise<Returned> {
  const { upstream, client, extent } = bench
  const relay = await bench.relay(kind)
  await upstream.plan({ eventSize, pace: 'quiet', ...(extent.quick && { retry: 100 }) })
  await client.open({ url: relay.url, streams, eventSize })
  await sleep(extent.quick ? 150 : lifetime)
  await client.mark()
  const before = await relay.usage()
  const since = await (drop === 'clean end' ? upstream.does('end') : beAway(bench))
  const arrivals = await client.nextArrivals(30_000)
  const after = await relay.usage()
  const waits = arrivals.flatMap((arrival) => (arrival === null ? [] : [arrival - since]))
  const missing = arrivals.length - waits.length
  if (missing === 0) await client.settle(await upstream.halt())
  await bench.close()
  const { max: last, median } = spreadOf(waits)
  const used = after.cpu.user - before.cpu.user + after.cpu.system - before.cpu.system
  return { last, median, missing, cost: used / streams }
}

async function beAway({ upstream, extent }: Bench): Promise<number> {
  await upstream.does('leave')
  await sleep(extent.quick ? 50 : outage)
  return upstream.does('return')
}
