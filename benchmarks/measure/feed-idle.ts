import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import { FeedTraffic } from '../feed-traffic.ts'
import type { Goal, Result } from '../figures.ts'
import { heartbeat } from '../relays/feed.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'
import { smallYoungGeneration } from './memory.ts'

interface IdleWorkload {
  readonly title: string
  readonly clients: number
  readonly kinds: readonly KindName[]
  /** Those that send heartbeats while nothing else is sent. */
  readonly heartbeats: readonly KindName[]
  readonly beside: KindName
  readonly subject: KindName
  readonly goal: Goal
}

interface Idle {
  /** Kilobytes (of 1,000 bytes) of resident memory for each client. */
  readonly resident: number
  /** Kilobytes of live JavaScript objects. */
  readonly heap: number
  /** Microseconds of CPU time for each heartbeat that a client got. */
  readonly cpu: number
}

const plan = { eventSize: 150, pace: 'quiet' } as const

/** Resident memory and CPU time of a fresh process for each client of a feed that sends nothing but heartbeats. */
export async function measureFeedIdle(bench: Bench, workload: IdleWorkload): Promise<Result[]> {
  const { clients, heartbeats, beside, subject, goal, kinds } = workload
  const title = `${workload.title}, ${clients.toLocaleString('en')} clients`
  const about = {
    title,
    unit: 'kB a client',
    kinds,
    beside,
    rounds: Math.min(bench.extent.rounds, 3),
    measure: (kind: KindName) => measureOne(bench, kind, clients),
    value: ({ resident }: Idle) => resident,
    noteOn: (all: readonly Idle[]) =>
      `${spreadOf(all.map(({ heap }) => heap)).median.toFixed(1)} kB of it live objects`,
  }
  const samples = await inTurn(bench, about)
  const awake = new Map([...samples].filter(([kind]) => heartbeats.includes(kind)))
  const compared = { goal, beside, subject }
  return [
    { title, unit: about.unit, figures: figuresOf(samples, about), ...compared },
    {
      title: `${title}, CPU`,
      unit: 'µs CPU a heartbeat',
      figures: figuresOf(awake, { beside, value: ({ cpu }) => cpu }),
      ...compared,
    },
  ]
}

async function measureOne(bench: Bench, kind: KindName, clients: number): Promise<Idle> {
  const relay = await bench.freshRelay(kind, [smallYoungGeneration])
  const pause = bench.extent.quick ? 0 : 300
  // What is loaded and compiled for the first clients belongs to none.
  const warm = await FeedTraffic.open(bench, relay, plan, Math.ceil(clients / 10))
  await warm.write()
  await bench.close()
  const before = await relay.settledMemory(pause)
  const traffic = await FeedTraffic.open(bench, relay, plan, clients)
  await traffic.write()
  const after = await relay.settledMemory(pause)
  const beats = bench.extent.quick ? 1 : 3
  const used = () => Promise.all([relay.usage(), bench.client.arrived()])
  const [usageBefore, arrivedBefore] = await used()
  await sleep(beats * heartbeat)
  const [usageAfter, arrivedAfter] = await used()
  await traffic.write()
  await bench.close()
  await bench.release(relay)
  const { user, system } = usageAfter.cpu
  const cpu = user - usageBefore.cpu.user + system - usageBefore.cpu.system
  return {
    resident: (after.rss - before.rss) / clients / 1000,
    heap: (after.heapUsed - before.heapUsed) / clients / 1000,
    // How many heartbeats there were depends on when the first one was due.
    cpu: cpu / (arrivedAfter.chunks - arrivedBefore.chunks),
  }
}
