import type { Bench } from '../bench-context.ts'
import { FeedTraffic } from '../feed-traffic.ts'
import type { Goal, Result } from '../figures.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'
import { Traffic } from '../traffic.ts'
import type { Plan } from '../wire.ts'

export interface CpuWorkload {
  readonly title: string
  readonly plan: Plan
  readonly streams: number
  readonly kinds: readonly KindName[]
  readonly goal?: Goal
  /** The kind that the others are compared with. Default: the bare pipe. */
  readonly beside?: KindName
  /** The kind that the goal is set for. Default: the relay of the library. */
  readonly subject?: KindName
  /** Whether the kinds serve one upstream to all clients. */
  readonly isFeed?: boolean
}

/** What one kind used in one round. */
interface Slice {
  /** Microseconds of CPU time, user and system, of the relay process for each event. */
  readonly cost: number
  /** How many events arrived in one chunk of HTTP, as the client sees it. */
  readonly batch: number
}

/** The CPU time of the relay process per event: all kinds in turn, round by round. */
export async function measureCpu(bench: Bench, workload: CpuWorkload): Promise<Result> {
  const { title, goal, beside, subject } = workload
  const contest = {
    title,
    unit: 'µs CPU an event',
    kinds: workload.kinds,
    beside,
    subject,
    rounds: bench.extent.rounds,
    warmUp: 1,
    measure: (kind: KindName) => measureSlice(bench, workload, kind),
    value: ({ cost }: Slice) => cost,
    noteOn: (slices: readonly Slice[]) => {
      const batch = spreadOf(slices.map((slice) => slice.batch)).median
      return `${batch < 10 ? batch.toFixed(1) : Math.round(batch)} events a chunk`
    },
  }
  await bench.prepare(bench.chosen(workload.kinds))
  const figures = figuresOf(await inTurn(bench, contest), contest)
  return { title, unit: contest.unit, figures, goal, ...(beside && { beside }), ...(subject && { subject }) }
}

async function measureSlice(
  bench: Bench,
  { plan, streams, isFeed }: CpuWorkload,
  kind: KindName,
): Promise<Slice> {
  const relay = await bench.relay(kind)
  const traffic = await (isFeed ? FeedTraffic : Traffic).open(bench, relay, plan, streams)
  const used = () => Promise.all([relay.usage(), bench.client.arrived()])
  await traffic.warmUp()
  // Nothing is on its way at either mark: all that is spent on an event counts, and for no other one.
  const [usageBefore, before] = await used()
  await traffic.send(bench.extent.seconds)
  const [usageAfter, after] = await used()
  await bench.close(kind)
  const cpu = usageAfter.cpu.user - usageBefore.cpu.user + usageAfter.cpu.system - usageBefore.cpu.system
  const events = after.events - before.events
  if (events === 0) throw new Error('no event arrived')
  return { cost: cpu / events, batch: events / (after.chunks - before.chunks) }
}
