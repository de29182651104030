import type { Agent, IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { createSseHub, type SharedStreamOptions, type SseHub } from '../../src/index.ts'
import { request } from '../support/client.ts'
import { serve, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { patience } from './client.ts'
import { CountedConnections } from './counted-connections.ts'
import { FaultyStore } from './faulty-store.ts'
import type { Opened, SharedWorld } from './shared-client.ts'
import type { SharedClientPlan, SharedPlan } from './shared-plan.ts'
import { RecordingStore } from './shared-store.ts'
import type { HostileUpstream } from './upstream.ts'
import { reconnect, timeouts } from './ways.ts'

const stream = 'the stream'

/** How long hubs and sockets may take to close after the last client, in milliseconds. */
const settling = 30_000

/** The header fields of each kind of client. */
const fieldsOf: Record<SharedClientPlan['kind'], Record<string, string>> = {
  'event source': { accept: 'text/event-stream', 'cache-control': 'no-cache' },
  fetch: { accept: 'text/event-stream' },
  slow: { accept: 'text/event-stream' },
  returning: { accept: 'text/event-stream' },
  subscriber: {},
  responder: { accept: 'text/event-stream', 'cache-control': 'no-cache' },
  program: { accept: 'application/json' },
  leaving: { accept: '*/*' },
}

/** One or two hubs on one store, and a server that passes each client to one of them. */
export class Hubs implements SharedWorld {
  readonly store = new RecordingStore(() => this.#onStored())
  readonly faults: string[] = []
  readonly #plan: SharedPlan
  readonly #upstream: HostileUpstream
  readonly #connections: CountedConnections
  readonly #hubs: SseHub[]
  /** The connection of each hub to the store. */
  readonly #connectionsToStore: FaultyStore[] = []
  /** Hubs that were closed, or are closing. */
  readonly #former: SseHub[] = []
  /** Calls of `close` and `cancel` that have not settled. */
  #closing = 0
  #replacements: SharedPlan['replacements']
  #pauses: SharedPlan['pauses']
  #cancelAt: number | undefined
  #server: TestServer | undefined
  /** Responses that have not ended. */
  #relays = 0
  /** The number of requests when the first event was stored. */
  #requestsBefore: number | undefined

  private constructor(plan: SharedPlan, upstream: HostileUpstream, agent: Agent) {
    this.#plan = plan
    this.#upstream = upstream
    this.#replacements = plan.replacements
    this.#pauses = plan.pauses
    this.#cancelAt = plan.cancelAt
    this.#connections = new CountedConnections(plan, this, upstream.url, agent)
    this.#hubs = Array.from({ length: plan.hubs }, (_, n) => this.#createHub(n))
  }

  static async start(plan: SharedPlan, upstream: HostileUpstream, agent: Agent): Promise<Hubs> {
    const hubs = new Hubs(plan, upstream, agent)
    hubs.#server = await serve((req, res) => hubs.#relay(req, res))
    return hubs
  }

  get isOver(): boolean {
    return this.store.end !== undefined
  }

  get hasFailed(): boolean {
    return this.store.hasFailed
  }

  get mayTrim(): boolean {
    return this.#plan.retention !== undefined
  }

  get stored(): number {
    return this.store.events.length
  }

  /** Whether the stream may fail: a session, and an upstream that is not tried without end. */
  get mayFail(): boolean {
    return this.#plan.way === 'session' || this.#plan.maxRetries < Number.POSITIVE_INFINITY
  }

  /** Whether clients may see a failure: that of a session, or of a hub that was closed. */
  get mayBreak(): boolean {
    return this.mayFail || this.#plan.replacements.length > 0
  }

  isLatest(id: string): boolean {
    return id === this.store.events.at(-1)?.id
  }

  trace(text: string): void {
    this.#upstream.trace.push(text)
  }

  open(client: SharedClientPlan, lastEventId: string): Promise<Opened> {
    if (client.kind === 'subscriber') return this.#subscribe(client, lastEventId)
    if (client.kind === 'responder') return this.#respond(client, lastEventId)
    return this.#request(client, lastEventId)
  }

  /** Waits until nothing is open any more; what then still is, counts. */
  async settle(): Promise<void> {
    await until(
      () => this.leftOpen === 0 && this.#closing === 0,
      () => '',
      settling,
    ).catch(() => {})
    if (this.#closing > 0) this.faults.push(`${this.#closing} calls of close or cancel did not settle`)
    for (const hub of [...this.#hubs, ...this.#former]) {
      // A hub that was closed calls its store once only, which may fail.
      const status = await hub.status(stream).catch(() => undefined)
      if (status && (status.clients > 0 || status.isOwner))
        this.faults.push(
          `a hub still has ${status.clients} clients${status.isOwner ? ' and the upstream' : ''}`,
        )
    }
    const { clients: _, random: __, ...plan } = this.#plan
    this.trace(`plan: ${JSON.stringify(plan)}`)
    this.trace(
      `left open: ${this.#upstream.open} at the upstream, ${this.#relays} relays, ${this.store.watchers} watchers`,
    )
    // An owner whose store is silent learns late that another one has taken over.
    const { most } = this.#connections
    if (most > 1 && this.#plan.pauses.length === 0)
      this.faults.push(`${most} upstream connections at the same time`)
    if (this.#plan.way === 'session' && this.#requestsBefore !== undefined) {
      const more = this.#upstream.requests - this.#requestsBefore
      if (more > 0) this.faults.push(`${more} requests after the first stored event`)
    }
  }

  get leftOpen(): number {
    return this.#upstream.open + this.#connections.open + this.#relays + this.store.watchers
  }

  async close(): Promise<void> {
    await Promise.all(this.#hubs.map((hub) => hub.close()))
    await this.#server?.close()
  }

  #createHub(n: number): SseHub {
    const { windowBytes, storeFaults, pauses, random } = this.#plan
    const store = new FaultyStore(this.store, random, storeFaults)
    this.#connectionsToStore[n] = store
    // Long enough for a busy machine, unless a pause is to outlast the lease.
    return createSseHub({ store, windowBytes, lease: pauses.length > 0 ? 300 : 5000, poll: 100 })
  }

  #onStored(): void {
    this.#requestsBefore ??= this.#upstream.requests
    const { stored } = this
    for (const { at, hub, drain } of this.#replacements.filter(({ at }) => at <= stored)) {
      const former = this.#hubs[hub]
      if (!former) continue
      this.trace(`hub ${hub} is closed and replaced at ${at}, drain ${drain}`)
      this.#former.push(former)
      this.#hubs[hub] = this.#createHub(hub)
      this.#watch(former.close({ drain }))
    }
    this.#replacements = this.#replacements.filter(({ at }) => at > stored)
    for (const { at, hub, duration } of this.#pauses.filter(({ at }) => at <= stored)) {
      this.trace(`the store is silent for hub ${hub} at ${at} for ${duration} ms`)
      this.#connectionsToStore[hub]?.pause(duration)
    }
    this.#pauses = this.#pauses.filter(({ at }) => at > stored)
    if (this.#cancelAt === undefined || stored < this.#cancelAt) return
    this.trace(`the stream is cancelled at ${this.#cancelAt}`)
    this.#cancelAt = undefined
    this.#watch(this.#pick(undefined).cancel(stream, 'chaos'))
  }

  #watch(call: Promise<unknown>): void {
    this.#closing++
    call
      .catch((error: unknown) => this.trace(`close or cancel: ${error}`))
      .finally(() => {
        this.#closing--
      })
  }

  /** A hub for a client; sometimes one that is closing, as a balancer does that does not know yet. */
  #pick(client: SharedClientPlan | undefined): SseHub {
    const { random } = client ?? this.#plan
    const former = this.#former.at(-1)
    const hub = this.#hubs[Math.floor(random() * this.#hubs.length)]
    return (random() < 0.1 ? former : hub) ?? hub ?? createSseHub()
  }

  get #streamOptions(): SharedStreamOptions {
    const { way, linger, retention, maxAge, maxRetries } = this.#plan
    return {
      reconnect: { ...reconnect, maxRetries },
      ...timeouts,
      heartbeat: 30,
      linger,
      ...(retention && { retention }),
      ...(maxAge !== undefined && { maxAge }),
      ...(way === 'session' && { resume: 'before-first-event' }),
    }
  }

  #optionsFor({ from }: SharedClientPlan): SharedStreamOptions {
    return { ...this.#streamOptions, from, statusEvents: true }
  }

  async #request(client: SharedClientPlan, lastEventId: string): Promise<Opened> {
    const headers = { ...fieldsOf[client.kind], 'x-client': String(client.number) }
    const response = await request(this.#server?.url ?? '', { headers, lastEventId, patience })
    const { statusCode: status = 0 } = response
    if (status === 200) return { status, body: response }
    response.resume()
    return { status, body: undefined }
  }

  #relay(req: IncomingMessage, res: ServerResponse): void {
    const client = this.#plan.clients[Number(req.headers['x-client'])]
    if (!client) {
      res.writeHead(500).end()
      return
    }
    this.#relays++
    this.#pick(client)
      .relay(req, res, stream, this.#connections.factory, this.#optionsFor(client))
      .then(
        ({ outcome, error }) => this.trace(`relay to client ${client.number}: ${outcome} ${error ?? ''}`),
        (error: unknown) => void this.faults.push(`rejected: ${error}`),
      )
      .finally(() => this.#relays--)
  }

  async #respond(client: SharedClientPlan, lastEventId: string): Promise<Opened> {
    const headers = new Headers(fieldsOf.responder)
    if (lastEventId !== '') headers.set('last-event-id', Buffer.from(lastEventId).toString('latin1'))
    const asked = new Request('http://localhost/', { headers })
    const { status, body } = await this.#pick(client).respond(
      asked,
      stream,
      this.#connections.factory,
      this.#optionsFor(client),
    )
    if (status === 200 && body) return { status, body: Readable.from(body) }
    await body?.cancel()
    return { status, body: undefined }
  }

  async #subscribe(client: SharedClientPlan, lastEventId: string): Promise<Opened> {
    const objectMode = client.random() < 0.5
    const body = this.#pick(client).subscribe(stream, this.#connections.factory, {
      ...this.#streamOptions,
      from: client.from,
      objectMode,
      highWaterMark: objectMode ? 1 : 1000,
      ...(lastEventId !== '' && { lastEventId }),
    })
    return { status: 200, body }
  }
}
