import type { Figure, Result } from './figures.ts'
import { bare, kinds } from './relays/kinds.ts'
import type { Spread } from './spread.ts'

/** A figure that has a bar. */
interface Bar {
  readonly kind: keyof typeof kinds
  readonly ratio: Spread
}

const columnWidth = 430
const rowHeight = 18
const labelWidth = 170
const barWidth = 190
const panelGap = 34
const top = 56

const style = `
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .faint { fill: #6e7781 }
  .bytes { fill: #8c959f }
  .limit { fill: #6f9f6a }
  .client-library { fill: #d4843e }
  .resilient, .variant { fill: #3f7fd0 }
  .spread { stroke: #24292f; opacity: .55 }
  .one { stroke: #6e7781; stroke-dasharray: 2 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #d0d7de }
    .faint { fill: #8c959f }
    .spread { stroke: #f0f6fc }
  }`

/** A picture of every result that has ratios to the bare pipe: a panel each, a bar for each kind. */
export function chart(results: readonly Result[], machines: string): string {
  const panels = results
    .filter(({ beside = bare }) => beside === bare)
    .map((result) => ({ title: result.title, unit: result.unit, bars: result.figures.flatMap(barOf) }))
    .filter(({ bars }) => bars.length > 1)
  const bottoms = [top, top]
  const drawn = panels.map((panel) => {
    const column = (bottoms[0] ?? 0) <= (bottoms[1] ?? 0) ? 0 : 1
    const y = bottoms[column] ?? top
    bottoms[column] = y + (panel.bars.length + 1) * rowHeight + panelGap
    return draw(panel.title, panel.unit, panel.bars, 16 + column * columnWidth, y)
  })
  const height = Math.max(...bottoms)
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${columnWidth * 2}" height="${height}" viewBox="0 0 ${columnWidth * 2} ${height}" role="img" aria-label="Cost of each kind of relay as a multiple of the bare pipe">
<style>${style}
</style>
<text class="title" x="16" y="20">Cost as a multiple of the bare pipe: median, with least and greatest; shorter is better</text>
<text class="faint" x="16" y="38">${escaped(machines)}</text>
${drawn.join('\n')}
</svg>
`
}

function barOf({ kind, ratio }: Figure): Bar[] {
  return kind !== 'parsing alone' && ratio ? [{ kind, ratio }] : []
}

function draw(title: string, unit: string, bars: readonly Bar[], x: number, y: number): string {
  // One that costs hundreds of times as much shall not make the other bars unreadable: its number says it.
  const longest = Math.min(Math.max(...bars.map(({ ratio }) => ratio.median)) * 1.15, 15)
  const scale = (value: number) => (Math.min(Math.max(value, 0), longest) / longest) * barWidth
  const left = x + labelWidth
  const rows = bars.map(({ kind, ratio }, index) => {
    const middle = y + (index + 1) * rowHeight + 6
    const family = kinds[kind].family.replace(' ', '-')
    return `<text x="${left - 6}" y="${middle + 4}" text-anchor="end">${kind}</text>
<rect class="${family}" x="${left}" y="${middle - 6}" width="${scale(ratio.median).toFixed(1)}" height="12" rx="2"/>
<path class="spread" d="M${(left + scale(ratio.min)).toFixed(1)} ${middle}H${(left + scale(ratio.max)).toFixed(1)}"/>
<text class="faint" x="${left + barWidth + 6}" y="${middle + 4}">${ratio.median.toFixed(2)}</text>`
  })
  const one = (left + scale(1)).toFixed(1)
  return `<g>
<text class="title" x="${x}" y="${y + 8}">${escaped(title)} <tspan class="faint" font-weight="400">${escaped(unit)}</tspan></text>
${rows.join('\n')}
<path class="one" d="M${one} ${y + rowHeight - 4}V${y + (bars.length + 1) * rowHeight}"/>
</g>`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
