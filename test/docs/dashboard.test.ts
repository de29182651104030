import { expect } from 'chai'
import { Registry } from 'prom-client'
import { collectMetrics } from '../../src/metrics.ts'
import { pageText } from '../support/pages.ts'

interface Panel {
  readonly id: number
  readonly title: string
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number }
  readonly targets?: readonly { readonly expr: string }[]
}

const dashboard: { readonly panels: readonly Panel[] } = JSON.parse(pageText('docs/grafana-dashboard.json'))
const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))

/** The series of each metric, by their names in queries, with their labels. */
async function seriesOf(): Promise<Map<string, readonly string[]>> {
  const registry = new Registry()
  const { stop } = await collectMetrics({ registry })
  const series = new Map<string, readonly string[]>()
  for (const { name, type } of await registry.getMetricsAsJSON()) {
    const metric = registry.getSingleMetric(name)
    const labels =
      metric && 'labelNames' in metric && Array.isArray(metric.labelNames) ? metric.labelNames : []
    if (String(type) === 'histogram') series.set(`${name}_bucket`, [...labels.map(String), 'le'])
    else series.set(name, labels.map(String))
  }
  stop()
  return series
}

describe('docs/grafana-dashboard.json', () => {
  it('asks for metrics that exist, and for each of them', async () => {
    const names = new Set(expressions.flatMap((expr) => expr.match(/\bsse_\w+/g) ?? []))
    expect([...names]).to.have.members([...(await seriesOf()).keys()])
  })

  it('asks for labels that its metrics have', async () => {
    const series = await seriesOf()
    for (const expr of expressions) {
      const grouped = /\bby \((.*?)\)/.exec(expr)?.[1]?.split(', ') ?? []
      const selected = Array.from(expr.matchAll(/(\w+)=~?"/g), ([, label = '']) => label)
      for (const name of expr.match(/\bsse_\w+/g) ?? []) {
        expect(series.get(name), expr).to.include.members([...grouped, ...selected])
      }
    }
  })

  it('has panels that do not overlap, with ids of their own', () => {
    const { panels } = dashboard
    expect(new Set(panels.map(({ id }) => id)).size).to.equal(panels.length)
    const cells = panels.flatMap(({ gridPos: { h, w, x, y } }) =>
      Array.from({ length: h * w }, (_, n) => `${x + (n % w)},${y + Math.floor(n / w)}`),
    )
    expect(new Set(cells).size).to.equal(cells.length)
  })
})

describe('docs/metrics.md', () => {
  it('names every metric, and no others', async () => {
    const named = new Set(pageText('docs/metrics.md').match(/\bsse_[a-z_]+/g))
    const known = [...(await seriesOf()).keys()].map((name) => name.replace(/_bucket$/, ''))
    expect([...named]).to.have.members(known)
  })
})
