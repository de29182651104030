import diagnosticsChannel from 'node:diagnostics_channel'
import http from 'node:http'
import { close, listen } from '../../src/demo/listen.ts'
import { createSseHub, httpUpstream, relaySse, type SharedStreamOptions } from '../../src/index.ts'
import type { Fault, SoakOptions } from './options.ts'

/** Short times, so that a run has many drops. */
const relayOptions = {
  headTimeout: 600_000,
  heartbeat: 300,
  idleTimeout: 1000,
  connectTimeout: 60_000,
  reconnect: { baseDelay: 20, minDelay: 10, maxDelay: 300, maxRetries: 1000 },
}

const sharedOptions: SharedStreamOptions = {
  ...relayOptions,
  from: 'start',
  // Little more than the first events, so that the logs are full before the memory is compared.
  retention: { events: 1100 },
}

/** The server under test: a request to `/<port>/<path>` relays `/<path>` of the upstream on that port. */
export class Relays {
  /** Running relays. */
  open = 0
  /** Finished relays, by outcome, or by the error that they threw. */
  readonly outcomes: Record<string, number> = {}
  /** Open upstream connections. */
  connections = 0
  /** Dropped upstream connections. */
  drops = 0
  /** Sources that were not garbage-collected yet. */
  sources = 0
  readonly #server = http.createServer((request, response) => this.#relay(request, response))
  readonly #agent = new http.Agent({ keepAlive: true })
  readonly #registry = new FinalizationRegistry<undefined>(() => {
    this.sources--
  })
  readonly #faults: ReadonlySet<Fault>
  readonly #isShared: boolean
  // The windows too must be full before the memory is compared.
  readonly #hub = createSseHub({ windowBytes: 65_536 })
  readonly #kept: unknown[] = []
  #readers = 0

  constructor({ faults, shared }: SoakOptions) {
    this.#faults = new Set(faults)
    this.#isShared = shared > 0
  }

  /** Starts the server, and returns its URL with a slash at the end. */
  async start(): Promise<string> {
    diagnosticsChannel.subscribe('resilient-sse:open', this.#onOpen)
    diagnosticsChannel.subscribe('resilient-sse:drop', this.#onDrop)
    diagnosticsChannel.subscribe('resilient-sse:end', this.#onEnd)
    return `http://127.0.0.1:${await listen(this.#server)}/`
  }

  async close(): Promise<void> {
    await this.#hub.close()
    await close(this.#server)
    this.#agent.destroy()
    diagnosticsChannel.unsubscribe('resilient-sse:open', this.#onOpen)
    diagnosticsChannel.unsubscribe('resilient-sse:drop', this.#onDrop)
    diagnosticsChannel.unsubscribe('resilient-sse:end', this.#onEnd)
  }

  #relay(request: http.IncomingMessage, response: http.ServerResponse): void {
    this.open++
    const [, port, path] = (request.url ?? '').split('/')
    const url = `http://127.0.0.1:${port}/${path}`
    // All connections for a shared stream are those of one reader.
    const reader = this.#isShared ? 'the hub' : String(++this.#readers)
    const upstream = httpUpstream(url, { agent: this.#agent, headers: { 'x-reader': reader } })
    const relay = this.#isShared
      ? this.#hub.relay(request, response, url, upstream, sharedOptions)
      : relaySse(request, response, upstream, relayOptions)
    relay
      .then(
        ({ outcome, error }) => this.#note(error ? `${outcome}: ${error.message}` : outcome),
        (error: unknown) => this.#note(String(error)),
      )
      .finally(() => this.open--)
  }

  #note(outcome: string): void {
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1
  }

  readonly #onOpen = (message: unknown): void => {
    this.connections++
    if (!isObject(message) || !('opens' in message) || message.opens !== 0) return
    if (!('stream' in message) || !isObject(message.stream)) return
    this.sources++
    this.#registry.register(message.stream, undefined)
  }

  readonly #onDrop = (): void => {
    this.drops++
    this.connections--
    if (this.#faults.has('heap')) this.#kept.push(new Array(8000).fill(this.drops))
    if (this.#faults.has('listener')) this.#server.on('drop', () => {})
    if (this.#faults.has('timer') && this.drops === 1) setInterval(() => {}, 60_000)
  }

  readonly #onEnd = (message: unknown): void => {
    if (isObject(message) && 'duration' in message && message.duration !== undefined) this.connections--
  }
}

function isObject(message: unknown): message is object {
  return typeof message === 'object' && message !== null
}
