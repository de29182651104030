import type PromClient from 'prom-client'
import type { DropReason, Messages, StreamOutcome } from '../diagnostics.ts'
import { type Fields, isNumber, isText, listen } from './channel.ts'

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

/** The metrics of all streams. */
export class StreamMetrics {
  readonly #metrics: ReturnType<typeof createMetrics>
  readonly #live = new Map<number, LiveStream>()
  /** The names of all streams so far. */
  readonly #names = new Set<string>()

  constructor(promClient: typeof PromClient, registry: PromClient.Registry) {
    this.#metrics = createMetrics(promClient, registry, () => this.#collect())
    this.#addName('')
  }

  /** @returns Functions that end the subscriptions. */
  listen(): (() => void)[] {
    const { reconnects, durations, gaps, deduplicated } = this.#metrics
    return [
      listen('start', (message, name) => this.#onStart(message, name)),
      listen('open', ({ after }, name) => isText(after) && reconnects.inc({ name, reason: after })),
      listen('drop', ({ duration }, name) => {
        if (isNumber(duration)) durations.observe({ name }, duration / 1000)
      }),
      listen('retry', (message, name) => this.#onRetry(message, name)),
      listen('gap', (_, name) => gaps.inc({ name })),
      listen('duplicate', (_, name) => deduplicated.inc({ name })),
      listen('end', (message, name) => this.#onEnd(message, name)),
    ]
  }

  #onStart({ id, stats }: Fields<Messages['start']>, name: string): void {
    this.#addName(name)
    if (!isNumber(id) || typeof stats !== 'function') return
    this.#live.set(id, { name, stats: () => figuresOf(stats()), counted: figuresOf(undefined) })
  }

  #onRetry({ delay, source, failed, after }: Fields<Messages['retry']>, name: string): void {
    if (isNumber(delay) && isText(source)) this.#metrics.delays.observe({ name, source }, delay / 1000)
    if (failed === true && after !== undefined) this.#metrics.failures.inc({ name })
  }

  #onEnd({ id, outcome, duration, failed, after, stats }: Fields<Messages['end']>, name: string): void {
    if (isNumber(duration)) this.#metrics.durations.observe({ name }, duration / 1000)
    if (isText(outcome)) this.#metrics.ended.inc({ name, outcome })
    // The last failed attempt of a stream is not followed by a retry message.
    if (outcome === 'failed' && failed === true && after !== undefined) this.#metrics.failures.inc({ name })
    const stream = isNumber(id) ? this.#live.get(id) : undefined
    if (stream === undefined || !isNumber(id)) return
    this.#live.delete(id)
    this.#count(stream, figuresOf(stats))
  }

  /** Starts the series of a name at 0, so that `rate()` sees the first increase. */
  #addName(name: string): void {
    if (this.#names.has(name)) return
    this.#names.add(name)
    const { attempts, events, reconnects, failures, deduplicated, gaps, durations, ended } = this.#metrics
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
    for (const [name, streams] of open) this.#metrics.streams.set({ name }, streams)
  }

  #count(stream: LiveStream, figures: Figures): void {
    const { name, counted } = stream
    this.#metrics.attempts.inc({ name }, figures.attempts - counted.attempts)
    this.#metrics.events.inc({ name }, figures.events - counted.events)
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
