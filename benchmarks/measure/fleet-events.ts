import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import type { Goal, Result } from '../figures.ts'
import { Fleet } from '../fleet.ts'
import { type KindName, kinds as kindsOfRelay } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'

interface FleetWorkload {
  readonly title: string
  readonly streams: number
  /** Milliseconds from one event of a stream to its next one. */
  readonly every: number
  /** The first one has one process, and keeps its streams in memory. */
  readonly kinds: readonly KindName[]
  readonly beside: KindName
  readonly subject: KindName
  readonly goals: Readonly<Partial<Record<Quantity, Goal>>>
}

type Quantity = keyof typeof quantities

/** What one process has done. */
interface Served {
  /** Milliseconds from the upstream to the client: of half, and of 99 in a hundred, of the events. */
  readonly p50: number
  readonly p99: number
  /** By how much the median of the last fifth of the events is greater than that of the first fifth. */
  readonly growth: number
  /** Microseconds of CPU time an event. */
  readonly cpu: number
}

interface Sample {
  readonly owner: Served
  /** The owner, where there is no other process. */
  readonly follower: Served
  /** Microseconds of CPU time of Redis an event. */
  readonly redis: number
  /** Commands of Redis an event. */
  readonly commands: number
  /** How many events there were in a second. */
  readonly rate: number
}

const quantities = {
  ownerMedian: { title: 'owner, p50', unit: 'ms', value: ({ owner }: Sample) => owner.p50 },
  ownerTail: { title: 'owner, p99', unit: 'ms', value: ({ owner }: Sample) => owner.p99 },
  followerMedian: { title: 'follower, p50', unit: 'ms', value: ({ follower }: Sample) => follower.p50 },
  followerTail: { title: 'follower, p99', unit: 'ms', value: ({ follower }: Sample) => follower.p99 },
  growth: {
    title: 'follower, later at the end than at the beginning',
    unit: 'ms',
    value: ({ follower }: Sample) => follower.growth,
  },
  ownerCpu: { title: 'CPU of the owner', unit: 'µs an event', value: ({ owner }: Sample) => owner.cpu },
  followerCpu: {
    title: 'CPU of the follower',
    unit: 'µs an event',
    value: ({ follower }: Sample) => follower.cpu,
  },
  redisCpu: { title: 'CPU of Redis', unit: 'µs an event', value: ({ redis }: Sample) => redis },
} as const

/** Events of many streams, through two processes: how late they arrive at the clients of each, and what they cost. */
export async function measureFleet(bench: Bench, workload: FleetWorkload): Promise<Result[]> {
  const { title, kinds, beside, subject, goals } = workload
  const samples = await inTurn(bench, {
    title,
    unit: 'ms at the follower',
    kinds,
    beside,
    rounds: bench.extent.rounds,
    measure: (kind: KindName) => measureOne(bench, kind, workload),
    value: quantities.followerMedian.value,
  })
  const median = (values: readonly number[]) => spreadOf(values).median
  const noteOn = (all: readonly Sample[]) => {
    const rate = Math.round(median(all.map((sample) => sample.rate))).toLocaleString('en')
    return `${rate} events a second, ${median(all.map(({ commands }) => commands)).toFixed(1)} commands each`
  }
  const names: Quantity[] = Object.keys(quantities).filter(isQuantity)
  return names.map((name) => {
    const { unit, value, title: what } = quantities[name]
    // A kind without Redis would be compared with nothing.
    const isOfRedis = name === 'redisCpu'
    const compared = isOfRedis ? subject : beside
    const of = isOfRedis
      ? new Map([...samples].filter(([kind]) => kindsOfRelay[kind].family === 'fleet'))
      : samples
    const figures = figuresOf(of, { beside: compared, value, noteOn })
    return { title: `${title}: ${what}`, unit, figures, goal: goals[name], beside: compared, subject }
  })
}

function isQuantity(name: string): name is Quantity {
  return Object.hasOwn(quantities, name)
}

async function measureOne(bench: Bench, kind: KindName, workload: FleetWorkload): Promise<Sample> {
  const { streams, every } = workload
  const { seconds, quick } = bench.extent
  await using fleet = await Fleet.start(bench, kind)
  const { gateways, redis } = fleet
  await fleet.open({ eventSize: 150, pace: { every }, withoutIds: true, stamped: true }, streams)
  await bench.upstream.go()
  // Until the code is compiled. Renewals of leases, and reads of streams without events, take turns of some seconds.
  await sleep(quick ? 100 : 3000)
  for (const { relay } of gateways) await relay.usage(true)
  // The events that have waited for the collection.
  await sleep(quick ? 100 : 1000)
  for (const { client } of gateways) await client.mark()
  const used = () =>
    Promise.all([
      bench.client.arrived(),
      redis?.usage(),
      ...gateways.map(({ relay }) => relay.usage()),
    ] as const)
  const start = performance.now()
  const [before, redisBefore, ...usagesBefore] = await used()
  // Long enough for a hundred events beyond the 99th percentile.
  await sleep(seconds * 10_000)
  const [after, redisAfter, ...usagesAfter] = await used()
  const took = (performance.now() - start) / 1000
  const latencies = await Promise.all(gateways.map(({ client }) => client.latencies()))
  await fleet.settle()
  const events = after.events - before.events
  const served = gateways.map((_, n) => {
    const [from, to] = [usagesBefore[n]?.cpu, usagesAfter[n]?.cpu]
    const cpu = from && to ? to.user - from.user + to.system - from.system : Number.NaN
    return servedIn(latencies[n] ?? [], cpu / events)
  })
  const [owner, follower = owner] = served
  if (!owner || !follower) throw new Error('no event arrived')
  const commands = (usage: typeof redisBefore) =>
    [...(usage?.commands.values() ?? [])].reduce((sum, calls) => sum + calls, 0)
  return {
    owner,
    follower,
    redis: ((redisAfter?.cpu ?? 0) - (redisBefore?.cpu ?? 0)) / events,
    commands: (commands(redisAfter) - commands(redisBefore)) / events,
    rate: events / took,
  }
}

/** @param latencies - In milliseconds, in order of arrival. */
function servedIn(latencies: readonly number[], cpu: number): Served {
  const fifth = Math.ceil(latencies.length / 5)
  const [first, last] = [latencies.slice(0, fifth), latencies.slice(-fifth)]
  return {
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    growth: percentile(last, 0.5) - percentile(first, 0.5),
    cpu,
  }
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
