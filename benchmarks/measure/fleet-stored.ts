import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import type { Result } from '../figures.ts'
import { Fleet } from '../fleet.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'

interface StoredWorkload {
  readonly title: string
  readonly completions: number
  readonly tokens: number
  readonly kinds: readonly KindName[]
  readonly beside: KindName
  readonly subject: KindName
}

interface Stored {
  /** Kilobytes (of 1,000 bytes) of Redis for each completion. */
  readonly size: number
  /** Kilobytes that the client of a completion got. */
  readonly sent: number
}

/** Milliseconds from one token of a completion to its next one: each arrives alone. */
const every = 10

/** What Redis holds of a completion that is over, and whose tokens arrived one by one. */
export async function measureFleetStored(bench: Bench, workload: StoredWorkload): Promise<Result> {
  const { title, kinds, beside, subject } = workload
  const contest = {
    title,
    unit: 'kB in Redis a completion',
    kinds,
    beside,
    rounds: Math.min(bench.extent.rounds, 3),
    measure: (kind: KindName) => measureOne(bench, kind, workload),
    value: ({ size }: Stored) => size,
    noteOn: (all: readonly Stored[]) =>
      `${spreadOf(all.map(({ sent }) => sent)).median.toFixed(1)} kB came from the upstream`,
  }
  const figures = figuresOf(await inTurn(bench, contest), contest)
  return { title, unit: contest.unit, figures, beside, subject }
}

async function measureOne(bench: Bench, kind: KindName, workload: StoredWorkload): Promise<Stored> {
  const { completions, tokens } = workload
  const { upstream } = bench
  await using fleet = await Fleet.start(bench, kind)
  if (!fleet.redis) throw new Error(`${kind} has no Redis`)
  const eventSize = 150
  await fleet.open({ eventSize, pace: { every }, withoutIds: true }, completions)
  await upstream.go()
  await sleep((tokens - 1) * every)
  const sent = await upstream.halt()
  await fleet.settle()
  await upstream.does('end')
  // The clients of a relay that ends no response of its own would wait for ever.
  await sleep(bench.extent.quick ? 100 : 1000)
  const count = sent.reduce((sum, last) => sum + last, 0)
  return {
    size: ((await fleet.redis.stored()) / count) * (tokens / 1000),
    sent: (eventSize * tokens) / 1000,
  }
}
