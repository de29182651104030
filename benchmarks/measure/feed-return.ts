import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import { FeedTraffic } from '../feed-traffic.ts'
import type { Goal, Result } from '../figures.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'
import { dataSizeOf } from '../wire.ts'

interface ReturnWorkload {
  readonly title: string
  readonly clients: number
  /** How much each of them has missed. */
  readonly bytes: number
  readonly kinds: readonly KindName[]
  readonly beside: KindName
  readonly subject: KindName
  readonly goal: Goal
}

interface Returned {
  /** Megabytes (of 1,000,000 bytes) of resident memory, at most, above what the process had before. */
  readonly peak: number
  readonly seconds: number
  /** Seconds of CPU time. */
  readonly cpu: number
}

const plan = { eventSize: 150, pace: 'quiet' } as const

/** The memory of a fresh process whose clients all return at once, and read what they have missed. */
export async function measureFeedReturn(bench: Bench, workload: ReturnWorkload): Promise<Result> {
  const { title, kinds, beside, subject, goal } = workload
  const median = (values: readonly number[]) => spreadOf(values).median.toFixed(1)
  const contest = {
    title,
    unit: 'MB above idle',
    kinds,
    beside,
    rounds: Math.min(bench.extent.rounds, 3),
    measure: (kind: KindName) => measureOne(bench, kind, workload),
    value: ({ peak }: Returned) => peak,
    noteOn: (all: readonly Returned[]) =>
      `${median(all.map(({ seconds }) => seconds))} s, ${median(all.map(({ cpu }) => cpu))} s of CPU time`,
  }
  const figures = figuresOf(await inTurn(bench, contest), contest)
  return { title, unit: contest.unit, figures, goal, beside, subject }
}

async function measureOne(bench: Bench, kind: KindName, workload: ReturnWorkload): Promise<Returned> {
  const { clients, bytes } = workload
  const { client, extent } = bench
  const { eventSize } = plan
  const relay = await bench.freshRelay(kind)
  const traffic = await FeedTraffic.open(bench, relay, plan, 1)
  await traffic.write()
  const lastEventId = await client.firstId()
  await traffic.write(Math.floor(bytes / eventSize))
  await relay.usage(true)
  await sleep(extent.quick ? 0 : 300)
  const before = await relay.usage(true)
  const start = performance.now()
  const feed = { dataSize: dataSizeOf(plan), lastEventId, atOnce: true }
  await client.open({ url: relay.url, streams: clients, eventSize, feed })
  await client.reach(traffic.last)
  const seconds = (performance.now() - start) / 1000
  const after = await relay.usage()
  await bench.close()
  await bench.release(relay)
  const cpu = after.cpu.user - before.cpu.user + after.cpu.system - before.cpu.system
  return { peak: (after.peak - before.memory.rss) / 1e6, seconds, cpu: cpu / 1e6 }
}
