import { type Figure, figureOf, type Result } from './figures.ts'
import { bare, type KindName, kinds } from './relays/kinds.ts'
import type { Spread } from './spread.ts'

/** The relay of the library that goals are set for. */
const subject: KindName = 'resilient-sse'

/** A Markdown table of one result, and what it was to reach. */
export function report(result: Result): string {
  const rows = result.figures.map(({ kind, value, ratio, note = '' }) => [
    kind,
    ...cells(value),
    ...(ratio ? [`${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)})`] : ['']),
    note,
  ])
  const header = [
    result.unit,
    'min',
    'median',
    'max',
    'count',
    `× ${result.beside ?? bare}: median (min–max)`,
    '',
  ]
  const goals = goalLines(result)
  return [
    `### ${result.title}`,
    '',
    ...table(header, rows),
    ...(goals.length > 0 ? ['', ...goals] : []),
  ].join('\n')
}

/** What was asked for, what came out, and whether that is enough. */
function goalLines({ goal = {}, ...result }: Result): string[] {
  const figure = figureOf(result, result.subject ?? subject)
  if (!figure) return []
  const { mustReach, aim, shareOfClientLibraries, greatest, ahead } = goal
  const beside = `× ${result.beside ?? bare}`
  const lines: string[] = []
  const line = (what: string, limit: number, value: number | undefined, unit: string) => {
    if (value === undefined) return
    const verdict = value <= limit ? 'reached' : '**not reached**'
    lines.push(`- ${what} ${limit} ${unit}: ${verdict}, ${precise(value)}`)
  }
  if (mustReach !== undefined) line('must reach', mustReach, figure.ratio?.median, beside)
  if (aim !== undefined) line('aim', aim, figure.ratio?.median, beside)
  if (shareOfClientLibraries !== undefined) {
    line('must reach', shareOfClientLibraries, shareOf(figure, result), '× the best client library')
  }
  if (greatest !== undefined) line('must reach', greatest, figure.value.max, `${result.unit} at most`)
  const other = ahead && figureOf(result, ahead)
  if (other) line('must be ahead:', 1, figure.value.median / other.value.median, `× ${ahead}`)
  return lines
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

/** A Markdown table whose columns stand under each other. */
function table(header: readonly string[], rows: readonly string[][]): string[] {
  const widths = header.map((cell, column) =>
    Math.max(3, cell.length, ...rows.map((row) => (row[column] ?? '').length)),
  )
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, column) => pad(cells[column] ?? '', width, column)).join(' | ')} |`
  const rule = widths.map((width, column) =>
    isNumber(column) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  )
  return [line(header), line(rule), ...rows.map(line)]
}

const isNumber = (column: number) => column >= 1 && column <= 4

function pad(cell: string, width: number, column: number): string {
  return isNumber(column) ? cell.padStart(width) : cell.padEnd(width)
}
