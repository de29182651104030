// What the bundlers make one program of: prints the events of an upstream until one says `last`, then a metric.
import { createResilientSseSource, httpUpstream } from 'resilient-sse'
import { collectMetrics } from 'resilient-sse/metrics'

async function main(url) {
  const { registry } = await collectMetrics()
  const isTerminal = ({ data }) => data === 'last'
  const reconnect = { baseDelay: 10, minDelay: 10 }
  const source = createResilientSseSource(httpUpstream(url), { objectMode: true, isTerminal, reconnect })
  for await (const { data } of source) console.log(data)
  console.log(await registry.getSingleMetricAsString('sse_reconnects_total'))
}

main(process.argv[2])
