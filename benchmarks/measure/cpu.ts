import type { Bench } from '../bench-context.ts'
import { FeedTraffic } from '../feed-traffic.ts'
import type { Figure, Goal, Result } from '../figures.ts'
import { during, progress } from '../progress.ts'
import { bare, type KindName } from '../relays/kinds.ts'
import { spreadOf } from '../spread.ts'
import { Traffic } from '../traffic.ts'
import type { Plan } from '../wire.ts'

export interface CpuWorkload {
  readonly title: string
  readonly plan: Plan
  readonly streams: number
  readonly kinds: readonly KindName[]
  readonly goal?: Goal
  /** Of kinds that serve one upstream to all clients: what they are compared with, and which of them the goal is set for. */
  readonly feed?: { readonly beside: KindName; readonly subject: KindName }
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
  const { title, goal, feed } = workload
  const base = feed?.beside ?? bare
  const { rounds, quick } = bench.extent
  const kinds = bench.chosen(workload.kinds)
  const slices = new Map<KindName, Slice[]>(kinds.map((kind) => [kind, []]))
  const ratios = new Map<KindName, number[]>(kinds.map((kind) => [kind, []]))
  await bench.prepare(kinds)
  // The first round warms the processes up.
  for (let round = quick ? 1 : 0; round <= rounds; round++) {
    let ofBare: number | undefined
    for (const kind of kinds) {
      const slice = await during(`${title}, ${kind}`, measureSlice(bench, workload, kind))
      progress(`${title}: round ${round} of ${rounds}, ${kind}: ${slice.cost.toFixed(2)} µs`)
      if (round === 0) continue
      slices.get(kind)?.push(slice)
      if (kind === base) ofBare = slice.cost
      if (ofBare !== undefined) ratios.get(kind)?.push(slice.cost / ofBare)
    }
  }
  const figures = kinds.map((kind): Figure => {
    const measured = slices.get(kind) ?? []
    const batch = spreadOf(measured.map((slice) => slice.batch)).median
    const ratio = ratios.get(kind) ?? []
    return {
      kind,
      value: spreadOf(measured.map((slice) => slice.cost)),
      ...(ratio.length > 0 && { ratio: spreadOf(ratio) }),
      note: `${batch < 10 ? batch.toFixed(1) : Math.round(batch)} events a chunk`,
    }
  })
  return { title, unit: 'µs CPU an event', figures, goal, ...feed }
}

async function measureSlice(
  bench: Bench,
  { plan, streams, feed }: CpuWorkload,
  kind: KindName,
): Promise<Slice> {
  const relay = await bench.relay(kind)
  const traffic = await (feed ? FeedTraffic : Traffic).open(bench, relay, plan, streams)
  const used = () => Promise.all([relay.usage(), bench.client.arrived()])
  await traffic.warmUp()
  // As servers have been through many: before its first full collection V8 does not hold a process to any limit.
  await relay.usage(true)
  // Nothing is on its way at either mark: all that is spent on an event counts, and for no other one.
  const [usageBefore, before] = await used()
  await traffic.send(bench.extent.seconds)
  const [usageAfter, after] = await used()
  await bench.close()
  const cpu = usageAfter.cpu.user - usageBefore.cpu.user + usageAfter.cpu.system - usageBefore.cpu.system
  const events = after.events - before.events
  if (events === 0) throw new Error('no event arrived')
  return { cost: cpu / events, batch: events / (after.chunks - before.chunks) }
}
