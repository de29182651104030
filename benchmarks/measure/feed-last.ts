import type { Bench } from '../bench-context.ts'
import { FeedTraffic } from '../feed-traffic.ts'
import type { Goal, Result } from '../figures.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'

interface LastWorkload {
  readonly title: string
  readonly clients: number
  readonly kinds: readonly KindName[]
  readonly beside: KindName
  readonly subject: KindName
  readonly goal: Goal
}

const plan = { eventSize: 150, pace: 'quiet' } as const

/** From the upstream's write of one event to its arrival at the last of many clients. */
export async function measureLast(bench: Bench, workload: LastWorkload): Promise<Result> {
  const { title, clients, beside, subject, goal, kinds } = workload
  const { rounds, quick } = bench.extent
  const events = quick ? 3 : 20
  const unit = 'ms'
  await bench.prepare(bench.chosen(kinds))
  const contest = {
    title,
    unit,
    kinds,
    beside,
    rounds,
    measure: (kind: KindName) => measureOne(bench, kind, clients, events),
    value: (times: readonly number[]) => spreadOf(times).median,
    noteOn: () => `each of ${events} events`,
  }
  const figures = figuresOf(await inTurn(bench, contest), contest)
  return { title, unit, figures, goal, beside, subject }
}

async function measureOne(bench: Bench, kind: KindName, clients: number, events: number): Promise<number[]> {
  const traffic = await FeedTraffic.open(bench, await bench.relay(kind), plan, clients)
  // The code is compiled then.
  for (let event = 0; event < events; event++) await traffic.write()
  const times: number[] = []
  for (let event = 0; event < events; event++) {
    await bench.client.mark()
    const sentAt = await traffic.write()
    const arrivals = await bench.client.nextArrivals(20_000)
    times.push(Math.max(...arrivals.map((arrival) => arrival ?? Number.NaN)) - sentAt)
  }
  await bench.close()
  return times
}
