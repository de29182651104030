import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type * as PromClient from 'prom-client'
import type {
  DropMessage,
  DropReason,
  EndMessage,
  Messages,
  OpenMessage,
  RetryMessage,
} from './diagnostics.ts'
import { SseError } from './errors.ts'
import type { SourceStats } from './source.ts'

/** A registry of prom-client, for either of its content types. */
export type MetricsRegistry = PromClient.Registry<PromClient.RegistryContentType>

/** Options of {@link collectMetrics}. */
export interface MetricsOptions {
  /** Where the metrics are registered. Default: prom-client's global `register`. */
  readonly registry?: MetricsRegistry | undefined
}

/** Metrics that are being collected. */
export interface MetricsCollection {
  /** Where they are registered; `metrics()` and `contentType` are what a scrape is answered with. */
  readonly registry: MetricsRegistry
  /** Listens to streams no more, and takes the metrics out of the registry. Once is enough, more does no harm. */
  stop(): void
}

/**
 * Counts what all streams of this process go through, as metrics of prom-client, which has to be installed:
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
 *
 * A stream is seen from its first open or retry on, and counted with all its attempts and events. It should be called
 * before the first stream is made: of earlier drops, delays, gaps and repeats nothing is known.
 *
 * @throws `Error` that names prom-client when it cannot be loaded, or a metric that the registry has already.
 */
export async function collectMetrics(options: MetricsOptions = {}): Promise<MetricsCollection> {
  const promClient = await loadPromClient()
  const registry: MetricsRegistry = options.registry ?? promClient.register
  const collector = new Collector(promClient)
  collector.register(registry)
  const channels = [
    listen('open', (message) => collector.onOpen(message)),
    listen('drop', (message) => collector.onDrop(message)),
    listen('retry', (message) => collector.onRetry(message)),
    listen('gap', () => collector.metrics.gaps.inc()),
    listen('duplicate', () => collector.metrics.deduplicated.inc()),
    listen('end', (message) => collector.onEnd(message)),
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

/** Subscribes to a channel; the function that it returns ends that. */
function listen<K extends keyof Messages>(kind: K, onMessage: (message: Messages[K]) => void): () => void {
  const name = `resilient-sse:${kind}`
  const listener = (message: unknown) => {
    if (isMessage<K>(message)) onMessage(message)
  }
  subscribe(name, listener)
  return () => unsubscribe(name, listener)
}

function isMessage<K extends keyof Messages>(message: unknown): message is Messages[K] {
  return typeof message === 'object' && message !== null && 'stream' in message
}

/** What is used of a source. */
interface Stream {
  readonly stats: Pick<SourceStats, 'attempts' | 'events'>
}

interface StreamState {
  readonly stream: Stream
  /** What of its stats has been counted. */
  attempts: number
  events: number
  /** When its connection opened, while one is open. */
  openedAt?: number | undefined
  /** Why its last connection was lost, until the next one opens. */
  lostFor?: DropReason | undefined
  /** The drop or failed attempt that was counted last. */
  lastError?: Error
}

class Collector {
  readonly metrics: ReturnType<typeof createMetrics>
  readonly #own: PromClient.Registry
  /** Also of streams that are over: a message that overtakes their last one must not bring them back. */
  readonly #states = new WeakMap<object, StreamState>()
  readonly #live = new Set<StreamState>()

  constructor(promClient: typeof PromClient) {
    this.#own = new promClient.Registry()
    this.metrics = createMetrics(promClient, this.#own, () => this.#collect())
  }

  /** @throws `Error` before any metric is registered, when one of them cannot be. */
  register(registry: MetricsRegistry): void {
    const metrics = this.#names.map((name) => {
      if (registry.getSingleMetric(name)) throw new Error(`the registry has a metric ${name} already`)
      return this.#own.getSingleMetric(name)
    })
    for (const metric of metrics) if (metric) registry.registerMetric(metric)
  }

  unregister(registry: MetricsRegistry): void {
    for (const name of this.#names) registry.removeSingleMetric(name)
  }

  get #names(): string[] {
    return this.#own.getMetricsAsArray().map(({ name }) => name)
  }

  onOpen({ stream }: OpenMessage): void {
    const state = this.#stateOf(stream)
    if (!state) return
    if (state.lostFor) this.metrics.reconnects.inc({ reason: state.lostFor })
    state.lostFor = undefined
    state.openedAt = performance.now()
  }

  onDrop({ stream, reason, error, duration }: DropMessage): void {
    this.metrics.durations.observe(duration / 1000)
    const state = this.#stateOf(stream)
    if (!state) return
    state.openedAt = undefined
    state.lostFor = reason
    state.lastError = error
  }

  onRetry({ stream, delay, source, error }: RetryMessage): void {
    this.metrics.delays.observe({ source }, delay / 1000)
    const state = this.#stateOf(stream)
    if (!state) return
    // The first retry after a drop has that drop's error.
    if (state.lostFor && error !== state.lastError) this.metrics.failures.inc()
    state.lastError = error
  }

  onEnd({ stream, error, duration }: EndMessage): void {
    const state = this.#stateOf(stream)
    if (!state) return
    // A connection that was closed at the terminal event is open no more when its stream's end has been read.
    const openFor =
      duration ?? (state.openedAt === undefined ? undefined : performance.now() - state.openedAt)
    if (openFor !== undefined) this.metrics.durations.observe(openFor / 1000)
    // No retry has told of the last attempt. Where there was none the error, or its cause, is known.
    const attempted = error !== state.lastError && error?.cause !== state.lastError
    if (state.lostFor && error instanceof SseError && attempted) this.metrics.failures.inc()
    this.#count(state)
    this.#live.delete(state)
  }

  /** A Transform that drops repeats is announced as well, but is no source: it has no state. */
  #stateOf(stream: object): StreamState | undefined {
    let state = this.#states.get(stream)
    if (state === undefined && isSource(stream)) {
      state = { stream, attempts: 0, events: 0 }
      this.#states.set(stream, state)
      this.#live.add(state)
    }
    return state
  }

  /** Nothing is announced of an event that is passed on: the live streams are asked at each scrape. */
  #collect(): void {
    for (const state of this.#live) this.#count(state)
    this.metrics.streams.set(this.#live.size)
  }

  #count(state: StreamState): void {
    const { attempts, events } = state.stream.stats
    this.metrics.attempts.inc(attempts - state.attempts)
    this.metrics.events.inc(events - state.events)
    Object.assign(state, { attempts, events })
  }
}

function isSource(stream: object): stream is Stream {
  return 'stats' in stream && typeof stream.stats === 'object'
}

const delayBuckets = [0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300]
const durationBuckets = [1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400]

/** Series start at 0, so that the first increase of each can be seen. */
function createMetrics(
  { Counter, Gauge, Histogram }: typeof PromClient,
  registry: PromClient.Registry,
  collect: () => void,
) {
  const registers = [registry]
  const counter = (name: string, help: string) => new Counter({ name, help, registers })
  const askedCounter = (name: string, help: string) => new Counter({ name, help, registers, collect })
  const reconnects = new Counter({
    name: 'sse_reconnects_total',
    help: 'Upstream connections that opened after a drop, by what that was',
    labelNames: ['reason'],
    registers,
  })
  for (const reason of ['end', 'reset', 'idle-timeout'] satisfies DropReason[]) reconnects.inc({ reason }, 0)
  return {
    attempts: askedCounter('sse_upstream_attempts_total', 'Calls of upstream factories'),
    reconnects,
    failures: counter('sse_reconnect_failures_total', 'Attempts after a drop that opened no connection'),
    delays: new Histogram({
      name: 'sse_retry_delay_seconds',
      help: 'Delays in front of attempts, by what set them',
      labelNames: ['source'],
      buckets: delayBuckets,
      registers,
    }),
    events: askedCounter('sse_events_total', 'Events passed on'),
    deduplicated: counter('sse_events_deduplicated_total', 'Repeated events dropped'),
    gaps: counter('sse_gaps_total', 'Connections that opened without a place to resume from'),
    durations: new Histogram({
      name: 'sse_upstream_connection_duration_seconds',
      help: 'How long upstream connections were open',
      buckets: durationBuckets,
      registers,
    }),
    streams: new Gauge({ name: 'sse_streams_open', help: 'Streams that are not over', registers, collect }),
  }
}
