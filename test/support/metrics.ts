import { Registry } from 'prom-client'
import { collectMetrics } from '../../src/metrics.ts'
import { answerOf } from './client.ts'
import { serve } from './server.ts'

/** Metrics that are collected and served. */
export interface Scraped extends AsyncDisposable {
  readonly registry: Registry
  /** What a scrape over HTTP says now: values by series. */
  scrape(): Promise<Record<string, number>>
  stop(): void
}

/** A series without the name of streams that have none: to Prometheus an empty label is no label. */
function shortened(series: string): string {
  const [metric = '', labels = ''] = series.split(/[{}]/)
  const others = labels.split(',').filter((label) => label !== 'name=""' && label !== '')
  return others.length > 0 ? `${metric}{${others.join(',')}}` : metric
}

/** Collects into a registry, and serves it. */
export async function collected(registry = new Registry()): Promise<Scraped> {
  const { stop, registry: used } = await collectMetrics({ registry })
  const server = await serve(async (_, response) => {
    response.setHeader('content-type', used.contentType).end(await used.metrics())
  })
  return {
    registry,
    async scrape() {
      const { text } = await answerOf(server.url)
      const lines = text.matchAll(/^([a-z_]+(?:{.*})?) (\S+)$/gm)
      return Object.fromEntries(
        Array.from(lines, ([, series = '', value]) => [shortened(series), Number(value)]),
      )
    },
    stop,
    async [Symbol.asyncDispose]() {
      stop()
      await server.close()
    },
  }
}
