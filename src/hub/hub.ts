import { randomUUID } from 'node:crypto'
import { SseError, shown } from '../errors.ts'
import { checkOptions, milliseconds, type OptionsOf, withDefault } from '../options.ts'
import type { ClientRequestLike } from '../relay/client.ts'
import type { Downstream } from '../relay/downstream.ts'
import { type DownstreamResponse, NodeResponse } from '../relay/node-response.ts'
import { WebResponse } from '../relay/web-response.ts'
import type { ChunkOf } from '../source.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import { HubAnnouncer } from './announcer.ts'
import { CallTurns } from './call-turns.ts'
import { HubClient, type SharedRelaySummary } from './client.ts'
import { figuresOf } from './figures.ts'
import { localStoreOf } from './memory-store.ts'
import { observeStore } from './observed-store.ts'
import {
  type CheckedStreamOptions,
  checkHubOptions,
  checkSharedOptions,
  checkStreamName,
  checkSubscribeOptions,
  differences,
  type HubOptions,
  type SharedStreamOptions,
  type SubscribeOptions,
} from './options.ts'
import type { HubContext } from './ownership.ts'
import { PageTurns } from './page-turns.ts'
import { formatId } from './position-id.ts'
import { positionOf } from './store.ts'
import { StoreAccess } from './store-access.ts'
import { SharedStream } from './stream.ts'
import { type SseSubscription, Subscription } from './subscription.ts'
import { Ticker } from './ticker.ts'

/**
 * The state of a shared stream.
 *
 * @example
 * ```ts
 * import { createSseHub, type StreamStatus } from 'resilient-sse'
 *
 * const status: StreamStatus | undefined = await createSseHub().status('feed')
 * console.log(status?.state, status?.clients)
 * ```
 */
export interface StreamStatus {
  readonly state: 'running' | 'ended' | 'failed' | 'cancelled'
  /** The id of the latest event; `''` before the first event. */
  readonly lastEventId: string
  /** The number of clients in this process. */
  readonly clients: number
  /** Whether this process has the upstream. */
  readonly isOwner: boolean
}

/** How long the store may take after a drain to store the last events, and to take the leases back, in milliseconds. */
const storeLimitAtClose = 1000

const closeOptions = {
  /** Milliseconds within which clients get a `retry:` and the end of their response, and running streams may end. Default 0. */
  drain: withDefault(milliseconds(), 0),
}

/**
 * Options of {@link SseHub.close}.
 *
 * @example
 * ```ts
 * import { type CloseOptions, createSseHub } from 'resilient-sse'
 *
 * const hub = createSseHub()
 * const options: CloseOptions = { drain: 5000 }
 * process.once('SIGTERM', () => hub.close(options))
 * ```
 */
export interface CloseOptions extends OptionsOf<typeof closeOptions> {}

/**
 * Streams that are shared by many clients, and that outlive their clients.
 *
 * @example
 * ```ts
 * import { httpUpstream, type SseHub } from 'resilient-sse'
 *
 * async function startAnswer(hub: SseHub, name: string): Promise<void> {
 *   await hub.start(name, httpUpstream('http://localhost:3000/answer', { method: 'POST' }), { from: 'start' })
 * }
 * const answer = (hub: SseHub, name: string, request: Request) => hub.respond(request, name)
 * ```
 */
export interface SseHub {
  /**
   * Answers a request with a shared stream. Opens the upstream where no process has it.
   *
   * @param req - A request of node:http, node:https or node:http2. The client starts after the request's `Last-Event-ID`.
   * @param res - The response to that request. No other code may write to the response.
   * @param stream - The stream's name, of 1 to 512 bytes. The server chooses it: whoever gets a stream may read all of it.
   * @param upstream - Called for each attempt, while this process has the upstream. Without it the client joins an existing
   * stream, or is answered with 404.
   * @param options - Those of the upstream and the log are the first caller's; a later caller's that differ are ignored, with
   * a warning.
   * @returns Resolves at the end of the response. Failures of a client or an upstream resolve too.
   * @throws `TypeError` or `RangeError` that names a wrong option, and errors thrown by a function of the caller.
   */
  relay(
    req: ClientRequestLike,
    res: DownstreamResponse,
    stream: string,
    upstream?: UpstreamFactory,
    options?: SharedStreamOptions,
  ): Promise<SharedRelaySummary>
  /**
   * Does the same for servers of the fetch API.
   *
   * @returns Resolves when the head is known.
   * @throws As `relay` does, before the head is known.
   */
  respond(
    request: Request,
    stream: string,
    upstream?: UpstreamFactory,
    options?: SharedStreamOptions,
  ): Promise<Response>
  /**
   * The stream as a Readable: of bytes, or of events with `objectMode: true`. The first read opens the upstream where no process
   * has it.
   *
   * @throws `TypeError` or `RangeError` that names a wrong option.
   */
  subscribe<Mode extends boolean | undefined = false>(
    stream: string,
    upstream?: UpstreamFactory,
    options?: SubscribeOptions & { readonly objectMode?: Mode },
  ): SseSubscription<ChunkOf<Mode>>
  /**
   * Opens the upstream without a client. A stream that exists already is left as it is.
   *
   * @throws {@link SseError} `ERR_SSE_STORE` when the store is away; `TypeError` or `RangeError` that names a wrong option.
   */
  start(stream: string, upstream: UpstreamFactory, options?: SharedStreamOptions): Promise<StreamStatus>
  /**
   * Ends the stream for all clients, and closes its upstream, whichever process has it. The log is kept for the stream's `keepFor`; by
   * a process that does not know the stream as long as it would have been without the call.
   *
   * @param reason - Kept in the log.
   * @returns False when there is no such stream, or it has ended.
   * @throws {@link SseError} `ERR_SSE_STORE` when the store is away.
   */
  cancel(stream: string, reason?: string): Promise<boolean>
  /**
   * @returns Undefined when there is no such stream.
   * @throws {@link SseError} `ERR_SSE_STORE` when the store is away.
   */
  status(stream: string): Promise<StreamStatus | undefined>
  /**
   * Gives up the upstreams that other processes can take over, tells clients to reconnect, and lets the other upstreams of this
   * process run to their end, for at most `drain` milliseconds. Further calls of the hub's other functions are refused.
   *
   * @returns Resolves when every response has ended, and every upstream is closed. A store that is away is waited for up to a second
   * more.
   */
  close(options?: CloseOptions): Promise<void>
}

/**
 * Makes a hub: a place where streams have a name, and live as long as their log and not as long as one client's connection.
 *
 * @throws `TypeError` or `RangeError` that names a wrong option.
 *
 * @example
 * ```ts
 * import http from 'node:http'
 * import { createSseHub, httpUpstream } from 'resilient-sse'
 *
 * const hub = createSseHub()
 * const upstream = httpUpstream('http://localhost:3000/events')
 *
 * http.createServer((req, res) => {
 *   hub.relay(req, res, 'feed', upstream).catch((error) => res.destroy(error))
 * })
 * ```
 */
export function createSseHub(options: HubOptions = {}): SseHub {
  return new Hub(options)
}

class Hub implements SseHub {
  readonly #context: HubContext
  readonly #announcer: HubAnnouncer
  readonly #streams = new Map<string, SharedStream>()
  readonly #ticker = new Ticker(this.#streams)
  #closing: Promise<void> | undefined

  constructor(given: HubOptions) {
    const options = checkHubOptions(given)
    this.#announcer = new HubAnnouncer(options.logger)
    const local = localStoreOf(options.store)
    const access = new StoreAccess(options.storeTimeout, this.#announcer, local !== undefined)
    const store = local
      ? options.store
      : observeStore(options.store, (command, duration) => this.#announcer.storeCall(command, duration))
    const turns = new PageTurns()
    this.#context = { hub: this.#announcer.hub, options, store, local, access, turns, joins: new CallTurns() }
  }

  relay(
    req: ClientRequestLike,
    res: DownstreamResponse,
    stream: string,
    upstream?: UpstreamFactory,
    options: SharedStreamOptions = {},
  ): Promise<SharedRelaySummary> {
    // Not an async function, which would hold a second promise as long as the response is open.
    try {
      const downstream = new NodeResponse(req, res, options?.fastPath !== false)
      return this.#client(req, downstream, stream, upstream, options).run()
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async respond(
    request: Request,
    stream: string,
    upstream?: UpstreamFactory,
    options: SharedStreamOptions = {},
  ): Promise<Response> {
    const downstream = new WebResponse(request.signal)
    const summary = this.#client(request, downstream, stream, upstream, options).run()
    // Before the head is known, the summary can only reject: then there is no response to wait for.
    return Promise.race([downstream.response, summary.then(() => downstream.response)])
  }

  subscribe<Mode extends boolean | undefined = false>(
    name: string,
    upstream?: UpstreamFactory,
    options: SubscribeOptions & { readonly objectMode?: Mode } = {},
  ): SseSubscription<ChunkOf<Mode>> {
    checkStreamName(name)
    checkFactory(upstream)
    const { stream, subscription } = checkSubscribeOptions(options)
    return new Subscription<ChunkOf<Mode>>(() => this.#stream(name, stream), upstream, subscription)
  }

  async start(
    name: string,
    upstream: UpstreamFactory,
    options: SharedStreamOptions = {},
  ): Promise<StreamStatus> {
    if (typeof upstream !== 'function')
      throw new TypeError(`upstream must be a function, got ${shown(upstream)}`)
    checkStreamName(name)
    await this.#stream(name, checkSharedOptions(options).stream).start(upstream)
    const status = await this.status(name)
    if (status === undefined) throw new SseError('ERR_SSE_STORE', 'the store has lost the stream')
    return status
  }

  async cancel(name: string, reason = ''): Promise<boolean> {
    checkStreamName(name)
    const { store, access, options } = this.#context
    const stream = this.#streams.get(name)
    // For how long a stream is kept that this process has not opened, only the store knows.
    const force = { lease: options.lease, keepFor: stream?.options.keepFor, force: reason }
    let calls = 0
    const { state } = await access.call(() => {
      calls++
      return store.open(name, randomUUID(), force)
    })
    // A call whose answer was lost may have ended the stream before the last call.
    const isCancelled = state === 'open' || (calls > 1 && (await this.#isCancelled(name, reason)))
    if (isCancelled) this.#announcer.cancel(name, reason, stream?.options)
    await stream?.refresh()
    return isCancelled
  }

  async #isCancelled(name: string, reason: string): Promise<boolean> {
    const { store, access } = this.#context
    const [latest] = await access.call(() => store.read(name, 'last', 1))
    return latest?.kind === 'end' && latest.how === 'cancelled' && latest.reason === reason
  }

  async status(name: string): Promise<StreamStatus | undefined> {
    checkStreamName(name)
    const { store, access } = this.#context
    const [latest] = await access.call(() => store.read(name, 'last', 1))
    if (latest === undefined) return undefined
    const position = latest.kind === 'events' ? positionOf(latest) : latest.previous
    const stream = this.#streams.get(name)
    return {
      state: latest.kind === 'end' ? latest.how : 'running',
      lastEventId: position ? formatId(position, latest.kind === 'events' ? latest.cursor : undefined) : '',
      clients: stream?.members.size ?? 0,
      isOwner: stream?.ownership.isOwner ?? false,
    }
  }

  close(options: CloseOptions = {}): Promise<void> {
    const { drain } = checkOptions(closeOptions, options)
    this.#closing ??= this.#close(drain)
    return this.#closing
  }

  #client(
    request: ClientRequestLike,
    downstream: Downstream,
    name: string,
    upstream: UpstreamFactory | undefined,
    options: SharedStreamOptions,
  ): HubClient {
    checkStreamName(name)
    checkFactory(upstream)
    const { stream, client } = checkSharedOptions(options)
    const { maxRetryAfter } = stream.reconnect
    return new HubClient(
      () => this.#stream(name, stream),
      upstream,
      request,
      downstream,
      client,
      maxRetryAfter,
    )
  }

  /**
   * The stream in this process. Its options are the first caller's.
   *
   * @throws {@link SseError} `ERR_SSE_HUB_CLOSED`
   */
  #stream(name: string, given: CheckedStreamOptions): SharedStream {
    if (this.#closing) throw new SseError('ERR_SSE_HUB_CLOSED', 'the hub was closed', { retryAfter: 1000 })
    const { logger } = this.#context.options
    // A copy for each stream would be 0.3 kB.
    const options = given.logger || !logger ? given : { ...given, logger }
    const existing = this.#streams.get(name)
    if (existing) {
      existing.warnOf(differences(existing.options, options))
      return existing
    }
    this.#announcer.start(() => figuresOf(this.#streams.values()))
    const stream = new SharedStream(this.#context, name, options, this.#onUnused)
    this.#streams.set(name, stream)
    this.#ticker.start(stream.shortestLimit)
    return stream
  }

  readonly #onUnused = (stream: SharedStream): void => {
    if (this.#streams.get(stream.name) === stream) this.#streams.delete(stream.name)
    if (this.#streams.size === 0) this.#ticker.stop()
  }

  async #close(drain: number): Promise<void> {
    const streams = [...this.#streams.values()]
    const { access } = this.#context
    // A store that is away must not keep the process from ending: the leases then end by themselves.
    const timer = setTimeout(() => access.close(), drain + storeLimitAtClose)
    await Promise.all(streams.map((stream) => stream.drain(drain)))
    clearTimeout(timer)
    access.close()
    for (const stream of this.#streams.values()) stream.close()
    this.#streams.clear()
    this.#ticker.stop()
    await this.#context.store.close?.()
    this.#announcer.end()
  }
}

function checkFactory(upstream: UpstreamFactory | undefined): void {
  if (upstream !== undefined && typeof upstream !== 'function')
    throw new TypeError(`upstream must be a function, got ${shown(upstream)}`)
}
