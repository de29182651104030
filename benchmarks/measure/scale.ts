import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import type { Goal, Result } from '../figures.ts'
import { streamsThatFit } from '../machine.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'
import { Traffic } from '../traffic.ts'

export interface ScaleWorkload {
  readonly title: string
  readonly streams: number
  readonly kinds: readonly KindName[]
  readonly goal: Goal
}

interface Load {
  /** Microseconds of CPU time for each event. */
  readonly cost: number
  /** The share of one processor. */
  readonly share: number
  /** Kilobytes of resident memory for each stream. */
  readonly resident: number
}

/**
 * How long a slice is, in milliseconds. A collection of the whole heap costs as much as 2,000 events. With 3,000 streams a bare pipe has
 * one each 7 s, and this package one each 18 s: in a slice of 4 s either side had the collection of one slice in two.
 */
const slice = 20_000

const plan = { eventSize: 120, pace: { every: 1000 } } as const

/** CPU time and memory of a fresh relay process with many streams that have one event a second each. */
export async function measureScale(bench: Bench, workload: ScaleWorkload): Promise<Result> {
  const { goal } = workload
  const streams = streamsThatFit(workload.streams)
  const capped = streams < workload.streams ? ' (no more fit into the limit of open files)' : ''
  const contest = {
    title: `${workload.title}, ${streams.toLocaleString('en')} streams${capped}`,
    unit: 'µs CPU an event',
    kinds: workload.kinds,
    rounds: Math.min(bench.extent.rounds, 3),
    measure: (kind: KindName) => measureOne(bench, kind, streams),
    value: ({ cost }: Load) => cost,
    noteOn: (loads: readonly Load[]) => {
      const share = spreadOf(loads.map((load) => load.share)).median
      const resident = spreadOf(loads.map((load) => load.resident)).median
      return `${(share * 100).toFixed(0)} % of a processor, ${resident.toFixed(1)} kB a stream`
    },
  }
  const figures = figuresOf(await inTurn(bench, contest), contest)
  return { title: contest.title, unit: contest.unit, figures, goal }
}

async function measureOne(bench: Bench, kind: KindName, streams: number): Promise<Load> {
  const { upstream, client, extent } = bench
  const { eventSize } = plan
  const relay = await bench.freshRelay(kind)
  // At one event a second it would take long until the code is compiled.
  const flood = { eventSize, pace: { writeSize: eventSize } }
  const traffic = await Traffic.open(bench, relay, flood, Math.ceil(streams / 10))
  await traffic.warmUp()
  await traffic.send(extent.quick ? 0.01 : 2)
  await bench.close(kind)
  await upstream.plan(plan)
  const empty = await relay.usage(true)
  await client.open({ url: relay.url, streams, eventSize })
  await upstream.go()
  // V8 goes on compiling for some seconds: opening thousands of streams has run what the flood had not.
  await sleep(extent.quick ? 50 : 6000)
  const [usageBefore, before] = await Promise.all([relay.usage(), client.arrived()])
  await sleep(extent.quick ? 300 : slice)
  const [usageAfter, after] = await Promise.all([relay.usage(), client.arrived()])
  await client.settle(await upstream.halt())
  const full = await relay.usage(true)
  await bench.close(kind)
  await bench.release(relay)
  const used = usageAfter.cpu.user - usageBefore.cpu.user + usageAfter.cpu.system - usageBefore.cpu.system
  const events = after.events - before.events
  return {
    cost: used / events,
    share: used / 1000 / (usageAfter.at - usageBefore.at),
    resident: (full.memory.rss - empty.memory.rss) / streams / 1000,
  }
}
