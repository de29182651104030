import type PromClient from 'prom-client'
import type { HubGapReason, StreamRole } from './diagnostics/hub-messages.ts'
import type { DropReason, StreamOutcome } from './diagnostics.ts'
import { HubMetrics } from './metrics/hub-metrics.ts'
import { StreamMetrics } from './metrics/stream-metrics.ts'
import { checkOptions, type OptionsOf, object, optional } from './options.ts'

/**
 * A registry of prom-client, for either of its content types.
 *
 * @example
 * ```ts
 * import { Registry } from 'prom-client'
 * import { collectMetrics, type MetricsRegistry } from 'resilient-sse/metrics'
 *
 * const registry: MetricsRegistry = new Registry()
 * await collectMetrics({ registry })
 * ```
 */
export type MetricsRegistry = PromClient.Registry<PromClient.RegistryContentType>

const metricsOptions = {
  /** Where the metrics are registered. Default: prom-client's global `register`. */
  registry: optional(
    object<MetricsRegistry>(
      'a registry of prom-client',
      (value) => typeof value.registerMetric === 'function',
    ),
  ),
}

/**
 * Options of {@link collectMetrics}.
 *
 * @example
 * ```ts
 * import { Registry } from 'prom-client'
 * import { collectMetrics, type MetricsOptions } from 'resilient-sse/metrics'
 *
 * const options: MetricsOptions = { registry: new Registry() }
 * await collectMetrics(options)
 * ```
 */
export interface MetricsOptions extends OptionsOf<typeof metricsOptions> {}

/**
 * Metrics that are being collected.
 *
 * @example
 * ```ts
 * import { collectMetrics, type MetricsCollection } from 'resilient-sse/metrics'
 *
 * const metrics: MetricsCollection = await collectMetrics()
 * process.once('SIGTERM', () => metrics.stop())
 * ```
 */
export interface MetricsCollection {
  /** Where the metrics are registered. A scrape is answered with its `metrics()` and `contentType`. */
  readonly registry: MetricsRegistry
  /** Stops counting, and removes the metrics from the registry. A second call has no effect. */
  stop(): void
}

/**
 * Counts the attempts, events and drops of all streams of this process, and the clients of its shared streams, as metrics of
 * prom-client, which must be installed. Each metric has the label `name`: the option `name` of the stream, `''` without one.
 *
 * - `sse_upstream_attempts_total`: calls of upstream factories.
 * - `sse_reconnects_total{reason}`: connections that opened after a drop, by the {@link DropReason} of the drop.
 * - `sse_reconnect_failures_total`: attempts after a drop that opened no connection.
 * - `sse_retry_delay_seconds{source}`: delays before attempts, by what set them (`backoff`, `retry`, `retry-after` or `clean-end`).
 * - `sse_events_total`: events passed on.
 * - `sse_events_deduplicated_total`: repeated events dropped.
 * - `sse_gaps_total`: connections that opened without a cursor, so that events may be missing.
 * - `sse_upstream_connection_duration_seconds`: how long connections were open.
 * - `sse_streams_open`: streams that are not over.
 * - `sse_streams_total{outcome}`: streams that are over, by their {@link StreamOutcome}.
 *
 * Of shared streams, whose upstreams are also counted as streams:
 *
 * - `sse_hub_streams{role}`: shared streams of this process, by its {@link StreamRole}.
 * - `sse_hub_clients`: clients of this process.
 * - `sse_hub_catching_up`: clients that have not taken every event so far.
 * - `sse_hub_gaps_total{reason}`: clients that missed events, by the {@link HubGapReason}.
 * - `sse_hub_slow_total`: clients that were disconnected because they did not read.
 * - `sse_hub_cancelled_total`: streams that this process has cancelled.
 * - `sse_hub_takeovers_total`: upstreams that this process has opened for a stream that had an upstream before.
 * - `sse_hub_fenced_total`: upstreams that this process has closed because the stream has a later owner, an end, or no log any more.
 * - `sse_store_seconds{command}`: how long a store outside this process took to answer, by the function that was called. Without `name`.
 * - `sse_store_errors_total`: calls of such a store that were rejected, or got no answer in time. Without `name`.
 *
 * Call this function before the first stream starts: the attempts and events of earlier streams are not counted, nor the shared
 * streams of a hub that had a stream before.
 *
 * @throws `Error` that names prom-client when the package cannot be loaded, or that names a metric that the registry already has;
 * `TypeError` for a wrong or unknown option.
 *
 * @example
 * ```ts
 * import http from 'node:http'
 * import { collectMetrics } from 'resilient-sse/metrics'
 *
 * const { registry } = await collectMetrics()
 * http.createServer(async (_, res) => {
 *   res.setHeader('content-type', registry.contentType).end(await registry.metrics())
 * })
 * ```
 */
export async function collectMetrics(options: MetricsOptions = {}): Promise<MetricsCollection> {
  const given = checkOptions(metricsOptions, options)
  const promClient = await loadPromClient()
  const registry: MetricsRegistry = given.registry ?? promClient.register
  const own = new promClient.Registry()
  const collectors = [new StreamMetrics(promClient, own), new HubMetrics(promClient, own)]
  register(own, registry)
  const channels = collectors.flatMap((collector) => collector.listen())
  return {
    registry,
    stop() {
      // After the first call, metrics of these names may belong to a later collection.
      if (channels.length > 0) for (const name of namesIn(own)) registry.removeSingleMetric(name)
      for (const leave of channels.splice(0)) leave()
    },
  }
}

/** @throws `Error` if the registry already has one of the metrics; then no metric is registered. */
function register(own: PromClient.Registry, registry: MetricsRegistry): void {
  const metrics = namesIn(own).map((name) => {
    if (registry.getSingleMetric(name)) throw new Error(`the registry has a metric ${name} already`)
    return own.getSingleMetric(name)
  })
  for (const metric of metrics) if (metric) registry.registerMetric(metric)
}

function namesIn(registry: PromClient.Registry): string[] {
  return registry.getMetricsAsArray().map(({ name }) => name)
}

async function loadPromClient(): Promise<typeof PromClient> {
  try {
    // Its `default`: a chunk that esbuild makes of a package in CommonJS has no other export.
    return (await import('prom-client')).default
  } catch (cause) {
    throw new Error('resilient-sse/metrics needs the package prom-client (^15): npm install prom-client', {
      cause,
    })
  }
}
