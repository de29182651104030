import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench-context.ts'
import type { Goal, Result } from '../figures.ts'
import type { RelayProcess } from '../processes.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'
import { spreadOf } from '../spread.ts'
import { dataSizeOf } from '../wire.ts'

interface SessionWorkload {
  readonly title: string
  /** How many answers there are at once. */
  readonly sessions: number
  /** Events of each of them, as fast as they go. */
  readonly tokens: number
  /** Milliseconds from one event of an answer to its next one. Default: as fast as they go. */
  readonly every?: number
  readonly kinds: readonly KindName[]
  readonly beside: KindName
  readonly subject: KindName
  readonly goal: Goal
}

interface Answered {
  /** Microseconds of CPU time for each event; with the opening and the end of its answer, where events go as fast as they can. */
  readonly cost: number
  /** How many events arrived in one chunk of HTTP, as the client sees it. */
  readonly batch: number
}

const eventSize = 150
/** Events of each answer before the measured ones, as fast as they go. */
const warmUp = 100
const dataSize = dataSizeOf({ eventSize, pace: 'quiet', withoutIds: true })

/** The CPU time of a fresh process for answers that all begin at once, each of them for a client of its own. */
export async function measureSessions(bench: Bench, workload: SessionWorkload): Promise<Result> {
  const { title, kinds, beside, subject, goal } = workload
  const contest = {
    title,
    unit: 'µs CPU an event',
    kinds,
    beside,
    rounds: bench.extent.rounds,
    measure: (kind: KindName) => measureOne(bench, kind, workload),
    value: ({ cost }: Answered) => cost,
    noteOn: (all: readonly Answered[]) =>
      `${spreadOf(all.map(({ batch }) => batch)).median.toFixed(1)} events a chunk`,
  }
  const figures = figuresOf(await inTurn(bench, contest), contest)
  return { title, unit: contest.unit, figures, goal, beside, subject }
}

async function measureOne(bench: Bench, kind: KindName, workload: SessionWorkload): Promise<Answered> {
  const relay = await bench.freshRelay(kind)
  // The code is compiled then.
  await answer(bench, relay, { sessions: Math.ceil(workload.sessions / 5), tokens: warmUp })
  await relay.usage(true)
  const answered = await answer(bench, relay, workload)
  await bench.release(relay)
  return answered
}

/** The number of the latest group of answers: a smoke run uses a process for several groups. */
let group = 0

/** Opens answers, and waits until they have arrived and ended. */
async function answer(
  bench: Bench,
  relay: RelayProcess,
  { sessions, tokens, every }: Pick<SessionWorkload, 'sessions' | 'tokens' | 'every'>,
): Promise<Answered> {
  const { upstream, client } = bench
  const isTimed = every !== undefined
  const used = () => Promise.all([relay.usage(), client.arrived()])
  const feed = { dataSize, ownPath: String(++group), atOnce: true }
  await upstream.plan({ eventSize, pace: isTimed ? { every } : { writeSize: eventSize }, withoutIds: true })
  let [usageBefore, before] = await used()
  await client.open({ url: relay.url, streams: sessions, eventSize, feed })
  // An answer of so few events would count its opening many times over.
  if (isTimed) [usageBefore, before] = await used()
  await upstream.go(tokens - 1)
  if (isTimed) await sleep(tokens * every)
  await client.settle(isTimed ? await upstream.halt() : new Array<number>(sessions).fill(tokens))
  const timed = await used()
  await upstream.does('end')
  await client.ended()
  const [usageAfter, after] = isTimed ? timed : await used()
  await bench.close()
  const { user, system } = usageAfter.cpu
  const events = after.events - before.events
  return {
    cost: (user - usageBefore.cpu.user + system - usageBefore.cpu.system) / events,
    batch: events / (after.chunks - before.chunks),
  }
}
