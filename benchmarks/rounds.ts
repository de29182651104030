import type { Bench } from './bench-context.ts'
import type { Figure } from './figures.ts'
import { during, progress } from './progress.ts'
import type { KindName } from './relays/kinds.ts'
import { spreadOf } from './spread.ts'

/** What is measured in turn. */
export interface Contest<Sample> {
  readonly title: string
  readonly unit: string
  readonly kinds: readonly KindName[]
  /** The kind that the others are compared with. */
  readonly beside: KindName
  readonly rounds: number
  measure(kind: KindName): Promise<Sample>
  value(sample: Sample): number
  /** Something to know about all samples of a kind. */
  noteOn?(samples: readonly Sample[]): string
}

/** Measures all kinds in turn, round by round. */
export async function inTurn<Sample>(
  bench: Bench,
  contest: Contest<Sample>,
): Promise<Map<KindName, Sample[]>> {
  const { title, rounds, unit, measure, value } = contest
  const kinds = bench.chosen(contest.kinds)
  const samples = new Map<KindName, Sample[]>(kinds.map((kind) => [kind, []]))
  for (let round = 1; round <= rounds; round++) {
    for (const kind of kinds) {
      const sample = await during(`${title}, ${kind}`, measure(kind))
      progress(`${title}: round ${round} of ${rounds}, ${kind}: ${value(sample).toPrecision(3)} ${unit}`)
      samples.get(kind)?.push(sample)
    }
  }
  return samples
}

/** The figures of samples, and their ratios within each round. */
export function figuresOf<Sample>(
  samples: ReadonlyMap<KindName, readonly Sample[]>,
  { beside, value, noteOn }: Pick<Contest<Sample>, 'beside' | 'value' | 'noteOn'>,
): Figure[] {
  const base = samples.get(beside)?.map(value) ?? []
  return [...samples].map(([kind, ofKind]) => {
    const values = ofKind.map(value)
    const ratios = base.map((ofBase, round) => (values[round] ?? Number.NaN) / ofBase)
    return {
      kind,
      value: spreadOf(values),
      ...(ratios.length > 0 && { ratio: spreadOf(ratios) }),
      ...(noteOn && { note: noteOn(ofKind) }),
    }
  })
}
