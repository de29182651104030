import { type Figure, figureOf, type Result } from './figures.ts'
import { bare, type KindName, kinds } from './relays/kinds.ts'
import type { Spread } from './spread.ts'

/** The relay of the library that goals are set for. */
const subject: KindName = 'resilient-sse'

/** A Markdown table of one result, and what it was to reach. */
export function report(result: Result): string {
  const rows = result.figures.map(({ kind, value, ratio, ratioOfMeans, note = '' }) => [
    kind,
    ...cells(value),
    ratio ? `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)})` : '',
    ratioOfMeans?.toFixed(2) ?? '',
    note,
  ])
  const header = [
    result.unit,
    'min',
    'median',
    'max',
    'count',
    `× ${result.beside ?? bare}: median (min–max)`,
    'of means',
    '',
  ]
  const goals = goalLines(result)
  return [
    `### ${result.title}`,
    '',
    ...table(header, rows, [1, 2, 3, 4]),
    ...(goals.length > 0 ? ['', ...goals] : []),
  ].join('\n')
}

/** What was asked for, what came out, and whether that is enough. */
function goalLines(result: Result): string[] {
  return verdicts(result).map(
    ({ what, limit, unit, value }) =>
      `- ${what} ${limit} ${unit}: ${answer(value, limit)}, ${precise(value)}`,
  )
}

/** A table of all goals: what came out, and whether that is enough. */
export function overview(results: readonly Result[]): string {
  const rows = results.flatMap((result) =>
    verdicts(result).map(({ what, limit, unit, value, count }) => [
      result.title,
      precise(value),
      String(count),
      `${what} ${limit} ${unit}`,
      answer(value, limit),
    ]),
  )
  return table(['', 'value', 'count', 'goal', ''], rows, [1, 2]).join('\n')
}

const answer = (value: number, limit: number) => (value <= limit ? 'reached' : '**not reached**')

interface Verdict {
  readonly what: string
  readonly limit: number
  readonly unit: string
  readonly value: number
  /** How many measurements the value stands on. */
  readonly count: number
}

function verdicts({ goal = {}, ...result }: Result): Verdict[] {
  const figure = figureOf(result, result.subject ?? subject)
  if (!figure) return []
  const { mustReach, aim, shareOfClientLibraries, greatest, median, added, aheadOf = [] } = goal
  const beside = `× ${result.beside ?? bare}`
  const found: Verdict[] = []
  const add = (what: string, limit: number | undefined, value: number | undefined, unit: string) => {
    if (limit === undefined || value === undefined) return
    found.push({ what, limit, unit, value, count: figure.value.count })
  }
  add('must reach', mustReach, figure.ratio?.median, beside)
  add('aim', aim, figure.ratio?.median, beside)
  add('must reach', shareOfClientLibraries, shareOf(figure, result), '× the best client library')
  add('must reach', greatest, figure.value.max, `${result.unit} at most`)
  for (const kind of aheadOf) {
    const other = figureOf(result, kind)
    add('must be below', 1, other && figure.value.median / other.value.median, `× ${kind}`)
  }
  add('must reach', median, figure.value.median, `${result.unit}, in the median`)
  const base = figureOf(result, result.beside ?? bare)
  const difference = base && figure.value.median - base.value.median
  add('must add at most', added, difference, `${result.unit} to ${base?.kind}`)
  return found
}

function shareOf({ value }: Figure, result: Result): number | undefined {
  const others = result.figures.flatMap((other) =>
    other.kind !== 'parsing alone' && kinds[other.kind].family === 'client library'
      ? [other.value.median]
      : [],
  )
  return others.length > 0 ? value.median / Math.min(...others) : undefined
}

function cells({ min, median, max, count }: Spread): string[] {
  return [precise(min), precise(median), precise(max), String(count)]
}

function precise(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3)
}

/** A Markdown table whose columns stand under each other; those of numbers end at the right. */
function table(header: readonly string[], rows: readonly string[][], numbers: readonly number[]): string[] {
  const widths = header.map((cell, column) =>
    Math.max(3, cell.length, ...rows.map((row) => (row[column] ?? '').length)),
  )
  const pad = (cell: string, width: number, column: number) =>
    numbers.includes(column) ? cell.padStart(width) : cell.padEnd(width)
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, column) => pad(cells[column] ?? '', width, column)).join(' | ')} |`
  const rule = widths.map((width, column) =>
    numbers.includes(column) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  )
  return [line(header), line(rule), ...rows.map(line)]
}
