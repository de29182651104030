import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import type { Figure, Result } from '../figures.ts'
import { streamsThatFit } from '../machine.ts'
import { during, progress } from '../progress.ts'
import { bare, type KindName } from '../relays/kinds.ts'
import { spreadOf } from '../spread.ts'
import { Traffic } from '../traffic.ts'

export interface ScaleWorkload {
  readonly title: string
  readonly streams: number
  readonly kinds: readonly KindName[]
}

interface Load {
  /** Microseconds of CPU time for each event. */
  readonly cost: number
  /** The share of one processor. */
  readonly share: number
  /** Kilobytes of resident memory for each stream. */
  readonly resident: number
}

const plan = { eventSize: 120, pace: { every: 1000 } } as const

/** CPU time and memory of a fresh relay process with many streams that have one event a second each. */
export async function measureScale(bench: Bench, workload: ScaleWorkload): Promise<Result> {
  const rounds = Math.min(bench.extent.rounds, 2)
  const kinds = bench.chosen(workload.kinds)
  const streams = streamsThatFit(workload.streams)
  const capped = streams < workload.streams ? ' (no more fit into the limit of open files)' : ''
  const title = `${workload.title}, ${streams.toLocaleString('en')} streams${capped}`
  const loads = new Map<KindName, Load[]>(kinds.map((kind) => [kind, []]))
  const ratios = new Map<KindName, number[]>(kinds.map((kind) => [kind, []]))
  for (let round = 1; round <= rounds; round++) {
    let ofBare: number | undefined
    for (const kind of kinds) {
      const load = await during(`${title}, ${kind}`, measureOne(bench, kind, streams))
      progress(`${title}: round ${round} of ${rounds}, ${kind}: ${load.cost.toFixed(1)} µs`)
      loads.get(kind)?.push(load)
      if (kind === bare) ofBare = load.cost
      if (ofBare !== undefined) ratios.get(kind)?.push(load.cost / ofBare)
    }
  }
  const figures = kinds.map((kind): Figure => {
    const measured = loads.get(kind) ?? []
    const ratio = ratios.get(kind) ?? []
    const share = spreadOf(measured.map((load) => load.share)).median
    const resident = spreadOf(measured.map((load) => load.resident)).median
    return {
      kind,
      value: spreadOf(measured.map((load) => load.cost)),
      ...(ratio.length > 0 && { ratio: spreadOf(ratio) }),
      note: `${(share * 100).toFixed(0)} % of a processor, ${resident.toFixed(1)} kB a stream`,
    }
  })
  return { title, unit: 'µs CPU an event', figures }
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
  await bench.close()
  await upstream.plan(plan)
  const empty = await relay.usage(true)
  await client.open({ url: relay.url, streams, eventSize })
  await upstream.go()
  await sleep(extent.quick ? 50 : 2000)
  const [usageBefore, before] = await Promise.all([relay.usage(), client.arrived()])
  await sleep(extent.quick ? 300 : Math.max(4, extent.seconds) * 1000)
  const [usageAfter, after] = await Promise.all([relay.usage(), client.arrived()])
  await client.settle(await upstream.halt())
  const full = await relay.usage(true)
  await bench.close()
  await bench.release(relay)
  const used = usageAfter.cpu.user - usageBefore.cpu.user + usageAfter.cpu.system - usageBefore.cpu.system
  const events = after.events - before.events
  return {
    cost: used / events,
    share: used / 1000 / (usageAfter.at - usageBefore.at),
    resident: (full.memory.rss - empty.memory.rss) / streams / 1000,
  }
}
