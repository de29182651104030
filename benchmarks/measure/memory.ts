import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import type { Figure, Goal, Result } from '../figures.ts'
import { streamsThatFit } from '../machine.ts'
import { during, progress } from '../progress.ts'
import { bare, type KindName } from '../relays/kinds.ts'
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

/** Resident memory of a fresh relay process per open, quiet stream. */
export async function measureMemory(bench: Bench, workload: MemoryWorkload): Promise<Result> {
  const { title, goal } = workload
  const kinds = bench.chosen(workload.kinds)
  const streams = streamsThatFit(workload.streams)
  const rounds = Math.min(bench.extent.rounds, 3)
  const measured = new Map<KindName, PerStream[]>(kinds.map((kind) => [kind, []]))
  const ratios = new Map<KindName, number[]>(kinds.map((kind) => [kind, []]))
  for (let round = 1; round <= rounds; round++) {
    let ofBare: number | undefined
    for (const kind of kinds) {
      const perStream = await during(`${title}, ${kind}`, measureOne(bench, kind, streams))
      progress(`${title}: round ${round} of ${rounds}, ${kind}: ${perStream.resident.toFixed(1)} kB`)
      measured.get(kind)?.push(perStream)
      if (kind === bare) ofBare = perStream.resident
      if (ofBare !== undefined) ratios.get(kind)?.push(perStream.resident / ofBare)
    }
  }
  const figures = kinds.map((kind): Figure => {
    const values = measured.get(kind) ?? []
    const ratio = ratios.get(kind) ?? []
    return {
      kind,
      value: spreadOf(values.map(({ resident }) => resident)),
      ...(ratio.length > 0 && { ratio: spreadOf(ratio) }),
      note: `${spreadOf(values.map(({ heap }) => heap)).median.toFixed(1)} kB of it live objects`,
    }
  })
  return { title: `${title}, ${streams.toLocaleString('en')} streams`, unit: 'kB a stream', figures, goal }
}

async function measureOne(bench: Bench, kind: KindName, streams: number): Promise<PerStream> {
  const { upstream, client, extent } = bench
  const plan = { eventSize: 120, pace: 'quiet' } as const
  const relay = await bench.freshRelay(kind, [smallYoungGeneration])
  const settled = async () => {
    // What the first collection sets free, the second one takes away.
    await relay.usage(true)
    await sleep(extent.quick ? 0 : 300)
    return (await relay.usage(true)).memory
  }
  await upstream.plan(plan)
  // What is loaded and compiled for the first stream belongs to none.
  await client.open({ url: relay.url, streams: Math.ceil(streams / 10), eventSize: plan.eventSize })
  await bench.close()
  const before = await settled()
  await client.open({ url: relay.url, streams, eventSize: plan.eventSize })
  const after = await settled()
  await upstream.go()
  await client.settle(await upstream.halt())
  await bench.close()
  await bench.release(relay)
  return {
    resident: (after.rss - before.rss) / streams / 1000,
    heap: (after.heapUsed - before.heapUsed) / streams / 1000,
  }
}
