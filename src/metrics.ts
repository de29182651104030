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
  /** Where they are registered; `metrics()` and `contentType` are what a scrape is answered with. */
  readonly registry: MetricsRegistry
  /** Listens to streams no more, and takes the metrics out of the registry. Once is enough, more does no harm. */
  stop(): void
}

/**
 * Counts what all streams of this process go through, as metrics of prom-client, which has to be installed. Each has the
 * label `name`: the option of the stream, `''` without one.
 *
 * - `sse_upstream_attempts_total`: calls of upstream factories.
 * - `sse_reconnects_total{reason}`: connections that opened after a drop, by that drop's {@link DropReason}.
 * - `sse_reconnect_failures_total`: attempts after a drop that opened none.
 * - `sse_retry_delay_seconds{source}`: delays in front of attempts, by what set them.
 * - `sse_events_total`: events passed on.
 * - `sse_events_deduplicated_total`: repeated events dropped.
 * - `sse_gaps_total`: connections that opened without a place to resume from.
 * - `sse_upstream_connection_duration_seconds`: how long connections were open.
 * - `sse_streams_open`: streams that are not over.
 * - `sse_streams_total{outcome}`: streams that are over, by their {@link StreamOutcome}.
 *
 * Call it before the first stream is made: of a stream that started earlier, attempts and events are not counted.
 *
 * @throws `Error` that names prom-client when it cannot be loaded, or a metric that the registry has already; `TypeError`
 * for a wrong or unknown option.
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
      // Its names may belong to a later collection by now.
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

/** A message as it comes from a channel, on which anybody may publish anything. */
type Fields<Message> = { readonly [K in keyof Message]?: unknown }

/**
 * Subscribes to a channel; the function that it returns ends that.
 *
 * @param onMessage - Called also with the name of the message's stream.
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

/** Attempts and events of a stream by now. */
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

/** A stream that is not over: asked for its figures at each scrape, as nothing is announced of an event passed on. */
interface LiveStream {
  readonly name: string
  readonly stats: () => Figures
  /** What of its figures has been counted. */
  counted: Figures
}

class Collector {
  readonly metrics: ReturnType<typeof createMetrics>
  readonly #own: PromClient.Registry
  readonly #live = new Map<number, LiveStream>()
  /** The names of streams so far. */
  readonly #names = new Set<string>()

  constructor(promClient: typeof PromClient) {
    this.#own = new promClient.Registry()
    this.metrics = createMetrics(promClient, this.#own, () => this.#collect())
    this.#meet('')
  }

  /** @throws `Error` before any metric is registered, when one of them cannot be. */
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
    this.#meet(name)
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
    // No retry follows the attempt with which a stream gives up.
    if (outcome === 'failed' && failed === true && after !== undefined) this.metrics.failures.inc({ name })
    const stream = isNumber(id) ? this.#live.get(id) : undefined
    if (stream === undefined || !isNumber(id)) return
    this.#live.delete(id)
    this.#count(stream, figuresOf(stats))
  }

  /** Series start at 0, so that the first increase of each can be seen. */
  #meet(name: string): void {
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
  const askedCounter = (name: string, help: string) => new Counter({ name, help, ...common, collect })
  return {
    attempts: askedCounter('sse_upstream_attempts_total', 'Calls of upstream factories'),
    reconnects: counter(
      'sse_reconnects_total',
      'Upstream connections that opened after a drop, by what that was',
      'reason',
    ),
    failures: counter('sse_reconnect_failures_total', 'Attempts after a drop that opened no connection'),
    delays: new Histogram({
      name: 'sse_retry_delay_seconds',
      help: 'Delays in front of attempts, by what set them',
      buckets: delayBuckets,
      ...common,
      labelNames: ['name', 'source'],
    }),
    events: askedCounter('sse_events_total', 'Events passed on'),
    deduplicated: counter('sse_events_deduplicated_total', 'Repeated events dropped'),
    gaps: counter('sse_gaps_total', 'Connections that opened without a place to resume from'),
    durations: new Histogram({
      name: 'sse_upstream_connection_duration_seconds',
      help: 'How long upstream connections were open',
      buckets: durationBuckets,
      ...common,
    }),
    streams: new Gauge({ name: 'sse_streams_open', help: 'Streams that are not over', ...common, collect }),
    ended: counter('sse_streams_total', 'Streams that are over, by how', 'outcome'),
  }
}
