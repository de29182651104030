import type { Bench } from './bench-context.ts'
import type { Figure } from './figures.ts'
import { during, progress } from './progress.ts'
import { bare, type KindName } from './relays/kinds.ts'
import { meanOf, relativeSpread, spreadOf } from './spread.ts'

/** What is measured in turn. */
export interface Contest<Sample> {
  readonly title: string
  readonly unit: string
  readonly kinds: readonly KindName[]
  /** The kind that the others are compared with. Default: the bare pipe. */
  readonly beside?: KindName | undefined
  /** The kind whose ratio decides whether more rounds are needed. Default: the relay of the library. */
  readonly subject?: KindName | undefined
  /** How many rounds at least. */
  readonly rounds: number
  /** How many rounds warm the processes up, and do not count. Default 0. */
  readonly warmUp?: number
  measure(kind: KindName): Promise<Sample>
  value(sample: Sample): number
  /** Something to know about all samples of a kind. */
  noteOn?(samples: readonly Sample[]): string
}

/** More rounds are measured, up to twice as many, while the middle half of the ratios is wider than this part of the median. */
const wide = 0.1

/** Measures all kinds in turn, round by round. */
export async function inTurn<Sample>(
  bench: Bench,
  contest: Contest<Sample>,
): Promise<Map<KindName, Sample[]>> {
  const { title, rounds, unit, warmUp = 0, measure, value } = contest
  const { quick } = bench.extent
  const kinds = bench.chosen(contest.kinds)
  const samples = new Map<KindName, Sample[]>(kinds.map((kind) => [kind, []]))
  for (let round = quick ? 1 : 1 - warmUp; round <= rounds || wantsMore(samples, contest, round); round++) {
    for (const kind of kinds) {
      const sample = await during(`${title}, ${kind}`, measure(kind))
      progress(`${title}: round ${round} of ${rounds}, ${kind}: ${value(sample).toPrecision(3)} ${unit}`)
      if (round > 0) samples.get(kind)?.push(sample)
    }
    // All of them at the same place, once: before its first full collection V8 does not hold a process to any limit.
    if (round === 0) await bench.collect()
  }
  return samples
}

function wantsMore<Sample>(
  samples: ReadonlyMap<KindName, readonly Sample[]>,
  contest: Contest<Sample>,
  round: number,
): boolean {
  const ofSubject = samples.get(contest.subject ?? 'resilient-sse')
  if (!ofSubject || contest.rounds === 1 || round > contest.rounds * 2) return false
  return relativeSpread(ratiosOf(samples, contest, ofSubject)) > wide
}

/** What each round's value is of that of the kind that it is compared with. */
function ratiosOf<Sample>(
  samples: ReadonlyMap<KindName, readonly Sample[]>,
  { beside = bare, value }: Pick<Contest<Sample>, 'beside' | 'value'>,
  ofKind: readonly Sample[],
): number[] {
  const values = ofKind.map(value)
  return (samples.get(beside) ?? []).map((sample, round) => (values[round] ?? Number.NaN) / value(sample))
}

/** The figures of samples, and their ratios within each round. */
export function figuresOf<Sample>(
  samples: ReadonlyMap<KindName, readonly Sample[]>,
  contest: Pick<Contest<Sample>, 'beside' | 'value' | 'noteOn'>,
): Figure[] {
  const { beside = bare, value, noteOn } = contest
  const base = samples.get(beside)?.map(value)
  return [...samples].map(([kind, ofKind]) => {
    const values = ofKind.map(value)
    return {
      kind,
      value: spreadOf(values),
      ...(base && {
        ratio: spreadOf(ratiosOf(samples, contest, ofKind)),
        ratioOfMeans: meanOf(values) / meanOf(base),
      }),
      ...(noteOn && { note: noteOn(ofKind) }),
    }
  })
}
