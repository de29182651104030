import diagnosticsChannel from 'node:diagnostics_channel'
import http from 'node:http'
import { close, listen } from '../../src/demo/listen.ts'
import { httpUpstream, relaySse } from '../../src/index.ts'
import type { Fault } from './options.ts'

/** Short times, so that a run has many drops. */
const relayOptions = {
  headTimeout: 600_000,
  heartbeat: 300,
  idleTimeout: 1000,
  connectTimeout: 60_000,
  reconnect: { baseDelay: 20, minDelay: 10, maxDelay: 300, maxRetries: 1000 },
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
  readonly #kept: unknown[] = []
  #readers = 0

  constructor(faults: readonly Fault[]) {
    this.#faults = new Set(faults)
  }

  /** Starts the server, and returns its URL with a slash at the end. */
  async start(): Promise<string> {
    diagnosticsChannel.subscribe('resilient-sse:open', this.#onOpen)
    diagnosticsChannel.subscribe('resilient-sse:drop', this.#onDrop)
    diagnosticsChannel.subscribe('resilient-sse:end', this.#onEnd)
    return `http://127.0.0.1:${await listen(this.#server)}/`
  }

  async close(): Promise<void> {
    await close(this.#server)
    this.#agent.destroy()
    diagnosticsChannel.unsubscribe('resilient-sse:open', this.#onOpen)
    diagnosticsChannel.unsubscribe('resilient-sse:drop', this.#onDrop)
    diagnosticsChannel.unsubscribe('resilient-sse:end', this.#onEnd)
  }

  #relay(request: http.IncomingMessage, response: http.ServerResponse): void {
    this.open++
    const [, port, path] = (request.url ?? '').split('/')
    const upstream = httpUpstream(`http://127.0.0.1:${port}/${path}`, {
      agent: this.#agent,
      headers: { 'x-reader': String(++this.#readers) },
    })
    relaySse(request, response, upstream, relayOptions)
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
