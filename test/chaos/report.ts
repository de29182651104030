import type { WayName } from './batch.ts'
import { isWhole, type Result } from './run.ts'
import type { Fault } from './scenario.ts'

const columns = [
  'through',
  'runs',
  'whole',
  'attempts',
  'events',
  'lost',
  'twice',
  'out of order',
  'damaged',
  'ended early',
  'broke off',
  'hung',
  'left open',
  'crashes, errors',
] as const

/** The results of many runs. */
export class Report {
  readonly #results = new Map<WayName, Result[]>()

  note(way: WayName, result: Result): void {
    const results = this.#results.get(way) ?? []
    results.push(result)
    this.#results.set(way, results)
  }

  get runs(): number {
    return [...this.#results.values()].reduce((sum, { length }) => sum + length, 0)
  }

  /** A row for each way, in Markdown. */
  table(ways: readonly WayName[]): string {
    const rows = ways.map((way) => rowOf(way, this.#results.get(way) ?? []))
    const line = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`
    return [line(columns), line(columns.map((_, n) => (n === 0 ? '---' : '---:'))), ...rows.map(line)].join(
      '\n',
    )
  }

  /** The number of times that each fault occurred. */
  faults(): string {
    const counts = new Map<Fault, number>()
    for (const { faultCounts } of [...this.#results.values()].flat()) {
      for (const [fault, count] of faultCounts) counts.set(fault, (counts.get(fault) ?? 0) + count)
    }
    return [...counts].map(([fault, count]) => `${fault} ${count}`).join(', ')
  }
}

function rowOf(way: WayName, results: readonly Result[]): (string | number)[] {
  const sum = (value: (result: Result) => number) =>
    results.reduce((total, result) => total + value(result), 0)
  return [
    way,
    results.length,
    results.filter(isWhole).length,
    sum(({ attempts }) => attempts),
    sum(({ delivered, lost }) => delivered + lost),
    sum(({ lost }) => lost),
    sum(({ twice }) => twice),
    sum(({ outOfOrder }) => outOfOrder),
    sum(({ damaged }) => damaged),
    sum(({ endedEarly }) => endedEarly),
    sum(({ broken }) => broken),
    sum(({ hung }) => Number(hung)),
    sum(({ leftOpen }) => leftOpen),
    sum(({ faults }) => faults.length),
  ]
}

/** The counts and the trace of a run, and the command that repeats the run. */
export function failureOf(way: WayName, { trace, faultCounts: _, faults, ...counts }: Result): string {
  const wrong = Object.entries(counts)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')
  return [
    `through ${way}: ${wrong}`,
    ...faults.map((fault) => `  ${fault}`),
    ...trace.slice(-40).map((line) => `  ${line}`),
    `to repeat the run: npm run chaos -- --seed ${counts.seed} --way ${way}`,
  ].join('\n')
}
