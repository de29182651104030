import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type * as PromClient from 'prom-client'
import type { DropReason, Messages, StreamOutcome } from './diagnostics.ts'
import { checkOptions, type OptionsOf, object, optional } from './options.ts'

/** A registry of prom-client, for either of its content types. */
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

/** Options of {@link collectMetrics}. */
export interface MetricsOptions extends OptionsOf<typeof metricsOptions> {}

/** Metrics that are being collected. */
export interface MetricsCollection {
  /** Where the metrics are registered. A scrape is answered with its `metrics()` and `contentType`. */
  readonly registry: MetricsRegistry
  /** Stops counting, and removes the metrics from the registry. A second call has no effect. */
  stop(): void
}

/**
 * Counts the attempts, events and drops of all streams of this process, as metrics of prom-client, which must be installed. Each
 * metric has the label `name`: the option `name` of the stream, `''` without one.
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
 * Call this function before the first stream starts: the attempts and events of earlier streams are not counted.
 *
 * @throws `Error` that names prom-client when the package cannot be loaded, or that names a metric that the registry already has;
 * `TypeError` for a wrong or unknown option.
 */
export async function collectMetrics(options: MetricsOptions = {}): Promise<MetricsCollection> {
  const given = checkOptions(metricsOptions, options)
  const promClient = await loadPromClient()
  const registry: MetricsRegistry = given.registry ?? promClient.register
  const collector = new Collector(promClient)
  collector.register(registry)
  const { metrics } = collector
  const channels = [
    listen('start', (message, name) => collector.onStart(message, name)),
    listen('open', ({ after }, name) => isText(after) && metrics.reconnects.inc({ name, reason: after })),
    listen('drop', ({ duration }, name) => {
      if (isNumber(duration)) metrics.durations.observe({ name }, duration / 1000)
    }),
    listen('retry', (message, name) => collector.onRetry(message, name)),
    listen('gap', (_, name) => metrics.gaps.inc({ name })),
    listen('duplicate', (_, name) => metrics.deduplicated.inc({ name })),
    listen('end', (message, name) => collector.onEnd(message, name)),
  ]
  return {
    registry,
    stop() {
      // After the first call, metrics of these names may belong to a later collection.
      if (channels.length > 0) collector.unregister(registry)
      for (const leave of channels.splice(0)) leave()
    },
  }
}

async function loadPromClient(): Promise<typeof PromClient> {
  try {
    return await import('prom-client')
  } catch (cause) {
    throw new Error('resilient-sse/metrics needs the package prom-client (^15): npm install prom-client', {
      cause,
    })
  }
}

/** A message of a diagnostics channel. Any code may publish there, so the types of the fields are unknown. */
type Fields<Message> = { readonly [K in keyof Message]?: unknown }

/**
 * Subscribes to a channel.
 *
 * @param onMessage - Called with each message, and with the name of its stream.
 * @returns A function that ends the subscription.
 */
function listen<K extends keyof Messages>(
  kind: K,
  onMessage: (message: Fields<Messages[K]>, name: string) => void,
): () => void {
  const channel = `resilient-sse:${kind}`
  const listener = (message: unknown) => {
    if (typeof message !== 'object' || message === null) return
    onMessage(message, 'name' in message && isText(message.name) ? message.name : '')
  }
  subscribe(channel, listener)
  return () => unsubscribe(channel, listener)
}

const isText = (value: unknown) => typeof value === 'string'
const isNumber = (value: unknown) => typeof value === 'number'

/** The attempts and events of a stream so far. */
interface Figures {
  readonly attempts: number
  readonly events: number
}

function figuresOf(stats: unknown): Figures {
  const figures = { attempts: 0, events: 0 }
  if (typeof stats !== 'object' || stats === null) return figures
  if ('attempts' in stats && isNumber(stats.attempts)) figures.attempts = stats.attempts
  if ('events' in stats && isNumber(stats.events)) figures.events = stats.events
  return figures
}

/** A stream that is not over. Its figures are read at each scrape, because no message is published for an event. */
interface LiveStream {
  readonly name: string
  readonly stats: () => Figures
  /** The figures that the metrics already include. */
  counted: Figures
}

class Collector {
  readonly metrics: ReturnType<typeof createMetrics>
  readonly #own: PromClient.Registry
  readonly #live = new Map<number, LiveStream>()
  /** The names of all streams so far. */
  readonly #names = new Set<string>()

  constructor(promClient: typeof PromClient) {
    this.#own = new promClient.Registry()
    this.metrics = createMetrics(promClient, this.#own, () => this.#collect())
    this.#addName('')
  }

  /** @throws `Error` if the registry already has one of the metrics; then no metric is registered. */
  register(registry: MetricsRegistry): void {
    const metrics = this.#metricNames.map((name) => {
      if (registry.getSingleMetric(name)) throw new Error(`the registry has a metric ${name} already`)
      return this.#own.getSingleMetric(name)
    })
    for (const metric of metrics) if (metric) registry.registerMetric(metric)
  }

  unregister(registry: MetricsRegistry): void {
    for (const name of this.#metricNames) registry.removeSingleMetric(name)
  }

  get #metricNames(): string[] {
    return this.#own.getMetricsAsArray().map(({ name }) => name)
  }

  onStart({ id, stats }: Fields<Messages['start']>, name: string): void {
    this.#addName(name)
    if (!isNumber(id) || typeof stats !== 'function') return
    this.#live.set(id, { name, stats: () => figuresOf(stats()), counted: figuresOf(undefined) })
  }

  onRetry({ delay, source, failed, after }: Fields<Messages['retry']>, name: string): void {
    if (isNumber(delay) && isText(source)) this.metrics.delays.observe({ name, source }, delay / 1000)
    if (failed === true && after !== undefined) this.metrics.failures.inc({ name })
  }

  onEnd({ id, outcome, duration, failed, after, stats }: Fields<Messages['end']>, name: string): void {
    if (isNumber(duration)) this.metrics.durations.observe({ name }, duration / 1000)
    if (isText(outcome)) this.metrics.ended.inc({ name, outcome })
    // The last failed attempt of a stream is not followed by a retry message.
    if (outcome === 'failed' && failed === true && after !== undefined) this.metrics.failures.inc({ name })
    const stream = isNumber(id) ? this.#live.get(id) : undefined
    if (stream === undefined || !isNumber(id)) return
    this.#live.delete(id)
    this.#count(stream, figuresOf(stats))
  }

  /** Starts the series of a name at 0, so that `rate()` sees the first increase. */
  #addName(name: string): void {
    if (this.#names.has(name)) return
    this.#names.add(name)
    const { attempts, events, reconnects, failures, deduplicated, gaps, durations, ended } = this.metrics
    for (const counter of [attempts, events, failures, deduplicated, gaps]) counter.inc({ name }, 0)
    for (const reason of dropReasons) reconnects.inc({ name, reason }, 0)
    for (const outcome of outcomes) ended.inc({ name, outcome }, 0)
    durations.zero({ name })
  }

  #collect(): void {
    const open = new Map(Array.from(this.#names, (name) => [name, 0]))
    for (const stream of this.#live.values()) {
      open.set(stream.name, (open.get(stream.name) ?? 0) + 1)
      this.#count(stream, stream.stats())
    }
    for (const [name, streams] of open) this.metrics.streams.set({ name }, streams)
  }

  #count(stream: LiveStream, figures: Figures): void {
    const { name, counted } = stream
    this.metrics.attempts.inc({ name }, figures.attempts - counted.attempts)
    this.metrics.events.inc({ name }, figures.events - counted.events)
    stream.counted = figures
  }
}

const dropReasons: readonly DropReason[] = ['end', 'reset', 'idle-timeout']
const outcomes: readonly StreamOutcome[] = ['ended', 'failed', 'aborted']
const delayBuckets = [0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300]
const durationBuckets = [1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400]

function createMetrics(
  { Counter, Gauge, Histogram }: typeof PromClient,
  registry: PromClient.Registry,
  collect: () => void,
) {
  const common = { registers: [registry], labelNames: ['name'] }
  const counter = (name: string, help: string, ...labels: string[]) =>
    new Counter({ name, help, ...common, labelNames: ['name', ...labels] })
  const readCounter = (name: string, help: string) => new Counter({ name, help, ...common, collect })
  return {
    attempts: readCounter('sse_upstream_attempts_total', 'Calls of upstream factories'),
    reconnects: counter(
      'sse_reconnects_total',
      'Upstream connections that opened after a drop, by the reason of the drop',
      'reason',
    ),
    failures: counter('sse_reconnect_failures_total', 'Attempts after a drop that opened no connection'),
    delays: new Histogram({
      name: 'sse_retry_delay_seconds',
      help: 'Delays before attempts, by what set them',
      buckets: delayBuckets,
      ...common,
      labelNames: ['name', 'source'],
    }),
    events: readCounter('sse_events_total', 'Events passed on'),
    deduplicated: counter('sse_events_deduplicated_total', 'Repeated events dropped'),
    gaps: counter('sse_gaps_total', 'Connections that opened without a cursor'),
    durations: new Histogram({
      name: 'sse_upstream_connection_duration_seconds',
      help: 'How long upstream connections were open',
      buckets: durationBuckets,
      ...common,
    }),
    streams: new Gauge({ name: 'sse_streams_open', help: 'Streams that are not over', ...common, collect }),
    ended: counter('sse_streams_total', 'Streams that are over, by outcome', 'outcome'),
  }
}
