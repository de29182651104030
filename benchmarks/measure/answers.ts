import type { Bench } from '../bench-context.ts'
import type { Goal, Result } from '../figures.ts'
import type { KindName } from '../relays/kinds.ts'
import { figuresOf, inTurn } from '../rounds.ts'

export interface AnswerWorkload {
  readonly title: string
  /** Bytes of each answer. */
  readonly bytes: number
  readonly connections: number
  readonly kinds: readonly KindName[]
  readonly beside: KindName
  readonly subject: KindName
  readonly goal: Goal
}

/** An answer takes three times as long until its code is compiled, which takes about 20,000 of them. */
const manyRounds = 6

/** The CPU time of a proxy for each answer that is no event stream. */
export async function measureAnswers(bench: Bench, workload: AnswerWorkload): Promise<Result> {
  const { title, kinds, beside, subject, goal } = workload
  const contest = {
    title,
    unit: 'µs CPU an answer',
    kinds,
    beside,
    subject,
    rounds: bench.extent.rounds,
    warmUp: manyRounds,
    measure: (kind: KindName) => measureOne(bench, workload, kind),
    value: (cost: number) => cost,
  }
  await bench.prepare(bench.chosen(kinds))
  const figures = figuresOf(await inTurn(bench, contest), contest)
  return { title, unit: contest.unit, figures, goal, beside, subject }
}

async function measureOne(
  bench: Bench,
  { bytes, connections }: AnswerWorkload,
  kind: KindName,
): Promise<number> {
  const { upstream, client, extent } = bench
  const relay = await bench.relay(kind)
  await upstream.plan({ eventSize: 120, pace: 'quiet', json: bytes })
  const before = await relay.usage()
  const answers = await client.askForJson({ url: relay.url, bytes, connections, seconds: extent.seconds })
  const after = await relay.usage()
  return (after.cpu.user - before.cpu.user + after.cpu.system - before.cpu.system) / answers
}
