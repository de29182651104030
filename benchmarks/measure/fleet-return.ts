import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import type { Goal, Result } from '../figures.ts'
import { Fleet } from '../fleet.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'
import { dataSizeOf } from '../wire.ts'
import { smallYoungGeneration } from './memory.ts'

interface ReturnWorkload {
  readonly title: string
  readonly clients: number
  /** How many streams they share. */
  readonly streams: number
  /** How much each client has missed. */
  readonly bytes: number
  readonly kinds: readonly KindName[]
  readonly beside: KindName
  readonly subject: KindName
  readonly goal: Goal
}

interface Returned {
  /** Megabytes (of 1,000,000 bytes) of resident memory, at most. */
  readonly peak: number
  /** Megabytes of it before the clients came. */
  readonly idle: number
  readonly seconds: number
}

// Not smaller: the clients look at each event, and would take longer than the process that is measured.
const plan = { eventSize: 1500, pace: 'quiet', withoutIds: true } as const

/** The memory of a process to which the clients of another one come at once, each of which reads a whole stream. */
export async function measureFleetReturn(bench: Bench, workload: ReturnWorkload): Promise<Result> {
  const { title, kinds, beside, subject, goal } = workload
  const median = (values: readonly number[]) => spreadOf(values).median.toFixed(0)
  const contest = {
    title,
    unit: 'MB',
    kinds,
    beside,
    rounds: Math.min(bench.extent.rounds, 3),
    measure: (kind: KindName) => measureOne(bench, kind, workload),
    value: ({ peak }: Returned) => peak,
    noteOn: (all: readonly Returned[]) =>
      `${median(all.map(({ idle }) => idle))} MB before; ${median(all.map(({ seconds }) => seconds))} s`,
  }
  // The first process of a kind has its code compiled; the others find it in a cache, and take less memory.
  for (const kind of bench.chosen(kinds)) {
    await using _ = await Fleet.start(bench, kind)
  }
  const figures = figuresOf(await inTurn(bench, contest), contest)
  return { title, unit: contest.unit, figures, goal, beside, subject }
}

async function measureOne(bench: Bench, kind: KindName, workload: ReturnWorkload): Promise<Returned> {
  const { clients, streams, bytes } = workload
  const { upstream } = bench
  // Nothing else on the heap: the goal is what the whole process may take.
  await using fleet = await Fleet.start(bench, kind, [smallYoungGeneration], 0)
  const { owner, follower } = fleet
  if (!follower) throw new Error(`${kind} has no follower`)
  await upstream.plan(plan)
  await fleet.openAt(owner, plan, streams)
  const { eventSize } = plan
  const events = Math.floor(bytes / eventSize)
  // As entries of some size: an upstream that is behind sends several events at a time.
  for (let sent = 1; sent < events; sent += 10) {
    await upstream.go(10)
    await sleep(2)
  }
  const last = await upstream.halt()
  await owner.client.settle(last)
  const { memory } = await follower.relay.usage(true)
  const start = performance.now()
  await follower.client.open({
    url: follower.relay.url,
    streams: clients,
    eventSize,
    feed: { dataSize: dataSizeOf(plan), ownPath: 'stream', paths: streams, atOnce: true },
  })
  await follower.client.reach(last[0] ?? 0, 240_000)
  const seconds = (performance.now() - start) / 1000
  const { peak } = await follower.relay.usage()
  return { peak: peak / 1e6, idle: memory.rss / 1e6, seconds }
}
