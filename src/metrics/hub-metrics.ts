import type PromClient from 'prom-client'
import type { HubGapReason, StoreCommand, StreamRole } from '../diagnostics/hub-messages.ts'
import { isNumber, isText, listen } from './channel.ts'

const gapReasons: readonly HubGapReason[] = ['trimmed', 'unknown-id']
const commands: readonly StoreCommand[] = ['open', 'append', 'renew', 'read']
const roles: readonly StreamRole[] = ['owner', 'follower']

/** The metrics of all shared streams. */
export class HubMetrics {
  readonly #metrics: ReturnType<typeof createMetrics>
  /** For each hub that is not closed, a function that gives its current figures. */
  readonly #live = new Map<number, () => unknown>()
  /** The names of all shared streams so far. */
  readonly #names = new Set<string>()

  constructor(promClient: typeof PromClient, registry: PromClient.Registry) {
    this.#metrics = createMetrics(promClient, registry, () => this.#collect())
    this.#addName('')
  }

  /** @returns Functions that end the subscriptions. */
  listen(): (() => void)[] {
    const { gaps, slow, cancelled, takeovers, fenced, storeSeconds, storeErrors } = this.#metrics
    return [
      listen('hub-start', ({ hub, figures }) => {
        if (isNumber(hub) && typeof figures === 'function') this.#live.set(hub, () => figures())
      }),
      listen('hub-gap', ({ reason }, name) => isText(reason) && gaps.inc({ name, reason })),
      listen('hub-slow', (_, name) => slow.inc({ name })),
      listen('hub-cancel', (_, name) => cancelled.inc({ name })),
      listen('hub-open', ({ first }, name) => first === false && takeovers.inc({ name })),
      listen('hub-release', ({ reason }, name) => reason === 'superseded' && fenced.inc({ name })),
      listen('hub-store-call', ({ command, duration }) => {
        const known = commands.find((each) => each === command)
        if (known && isNumber(duration)) storeSeconds.observe({ command: known }, duration / 1000)
      }),
      listen('hub-store-error', () => storeErrors.inc()),
      listen('hub-end', ({ hub }) => isNumber(hub) && this.#live.delete(hub)),
    ]
  }

  /** Starts the series of a name at 0, so that `rate()` sees the first increase. */
  #addName(name: string): void {
    if (this.#names.has(name)) return
    this.#names.add(name)
    const { gaps, slow, cancelled, takeovers, fenced } = this.#metrics
    for (const reason of gapReasons) gaps.inc({ name, reason }, 0)
    for (const counter of [slow, cancelled, takeovers, fenced]) counter.inc({ name }, 0)
  }

  #collect(): void {
    const { streams, clients, catchingUp } = this.#metrics
    const found = Array.from(this.#live.values(), (figures) => figures())
      .flat()
      .map((each) => ({ each, name: String(at(each, 'name') ?? '') }))
    for (const { name } of found) this.#addName(name)
    for (const name of this.#names) {
      for (const role of roles) streams.set({ name, role }, 0)
      for (const gauge of [clients, catchingUp]) gauge.set({ name }, 0)
    }
    for (const { each, name } of found) {
      for (const role of roles) streams.inc({ name, role }, numberAt(at(each, 'streams'), role))
      clients.inc({ name }, numberAt(each, 'clients'))
      catchingUp.inc({ name }, numberAt(each, 'catchingUp'))
    }
  }
}

/** A property of a value from a diagnostics channel, where any code may publish. */
function at(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined
}

function numberAt(value: unknown, key: string): number {
  const found = at(value, key)
  return isNumber(found) ? found : 0
}

function createMetrics(
  { Counter, Gauge, Histogram }: typeof PromClient,
  registry: PromClient.Registry,
  collect: () => void,
) {
  const common = { registers: [registry] }
  const gauge = (name: string, help: string, ...labels: string[]) =>
    new Gauge({ name, help, ...common, labelNames: ['name', ...labels], collect })
  const counter = (name: string, help: string, ...labels: string[]) =>
    new Counter({ name, help, ...common, labelNames: ['name', ...labels] })
  return {
    // The gauges are read before the counters, which then have the names of new streams too.
    streams: gauge('sse_hub_streams', 'Shared streams of this process, by its role', 'role'),
    clients: gauge('sse_hub_clients', 'Clients of shared streams'),
    catchingUp: gauge(
      'sse_hub_catching_up',
      'Clients of shared streams that have not taken every event so far',
    ),
    gaps: counter(
      'sse_hub_gaps_total',
      'Clients of shared streams that missed events, by the reason',
      'reason',
    ),
    slow: counter(
      'sse_hub_slow_total',
      'Clients of shared streams that were disconnected because they did not read',
    ),
    cancelled: counter('sse_hub_cancelled_total', 'Shared streams that this process has cancelled'),
    takeovers: counter(
      'sse_hub_takeovers_total',
      'Upstreams that this process has opened for a shared stream that had an upstream before',
    ),
    fenced: counter(
      'sse_hub_fenced_total',
      'Upstreams that this process has closed because the shared stream has a later owner, an end, or no log any more',
    ),
    storeSeconds: new Histogram({
      name: 'sse_store_seconds',
      help: 'How long the answers of the store of shared streams took, by the function that was called',
      ...common,
      labelNames: ['command'],
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    }),
    storeErrors: new Counter({
      name: 'sse_store_errors_total',
      help: 'Calls of the store of shared streams that were rejected, or got no answer in time',
      ...common,
    }),
  }
}
