import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import type { Figure, Goal, Result } from '../figures.ts'
import { during, progress } from '../progress.ts'
import type { KindName } from '../relays/kinds.ts'
import { spreadOf } from '../spread.ts'

export interface ReturnWorkload {
  readonly title: string
  /** The upstream ends all streams cleanly and stays; or it goes, and comes back on its port. */
  readonly drop: 'clean end' | 'outage'
  readonly streams: number
  readonly kinds: readonly KindName[]
  readonly goal?: Goal
}

const eventSize = 120
/** Longer than the time between two opens that the library keeps at least. */
const lifetime = 1500
/** Between the library's second attempt and its third. */
const outage = 2500

/** From the drop's end (the clean end, or the upstream's return) to the next event at each client. */
export async function measureReturn(bench: Bench, workload: ReturnWorkload): Promise<Result> {
  const { title, goal } = workload
  const { rounds, quick } = bench.extent
  const figures: Figure[] = []
  for (const kind of bench.chosen(workload.kinds)) {
    const times: number[] = []
    let missing = 0
    // The first round warms the process up.
    for (let round = quick ? 1 : 0; round <= rounds; round++) {
      const waits = await during(`${title}, ${kind}`, measureOne(bench, workload, kind))
      if (round === 0) continue
      const returned = waits.filter((wait) => wait !== null)
      missing += waits.length - returned.length
      times.push(...returned)
      progress(`${title}: round ${round} of ${rounds}, ${kind}: ${spreadOf(returned).median.toFixed(0)} ms`)
    }
    figures.push({ kind, value: spreadOf(times), ...(missing > 0 && { note: `${missing} did not return` }) })
  }
  return { title, unit: 'ms', figures, goal }
}

async function measureOne(
  bench: Bench,
  { streams, drop }: ReturnWorkload,
  kind: KindName,
): Promise<(number | null)[]> {
  const { upstream, client, extent } = bench
  const relay = await bench.relay(kind)
  await upstream.plan({ eventSize, pace: 'quiet', ...(extent.quick && { retry: 100 }) })
  await client.open({ url: relay.url, streams, eventSize })
  await sleep(extent.quick ? 150 : lifetime)
  await client.mark()
  const since = await (drop === 'clean end' ? upstream.does('end') : beAway(bench))
  const arrivals = await client.nextArrivals(30_000)
  const waits = arrivals.map((arrival) => (arrival === null ? null : arrival - since))
  if (waits.every((wait) => wait !== null)) await client.settle(await upstream.halt())
  await bench.close()
  return waits
}

async function beAway({ upstream, extent }: Bench): Promise<number> {
  await upstream.does('leave')
  await sleep(extent.quick ? 50 : outage)
  return upstream.does('return')
}
