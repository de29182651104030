import type { Logger } from '../diagnostics.ts'
import {
  bytes,
  checkOptions,
  choice,
  count,
  type Elsewhere,
  flag,
  type Kind,
  milliseconds,
  number,
  type OptionsOf,
  object,
  optional,
  readOptions,
  refuseUnknown,
  sharing,
  type ValuesOf,
  withDefault,
} from '../options.ts'
import { reconnectOptions, type SourceOptions, sourceOptions } from '../reconnect/options.ts'
import { type RelayOptions, relayOptions } from '../relay/options.ts'
import { memoryStore } from './memory-store.ts'
import type { StreamStore } from './store.ts'

const storeFunctions = ['open', 'append', 'renew', 'read', 'watch'] as const

export const hubOptions = {
  /** Where the logs of the streams are kept. Default: a {@link memoryStore} of the hub's own. */
  store: optional(
    object<StreamStore>('a store of streams', (store) =>
      storeFunctions.every((name) => typeof store[name] === 'function'),
    ),
  ),
  /** Bytes of the latest events of each stream that this process keeps in memory for its clients. Default 1048576 (1 MiB). */
  windowBytes: withDefault(bytes(0), 1024 * 1024),
  /**
   * How long an owner of a stream that does not answer is believed to be alive, in milliseconds from 100. Default 10000.
   */
  lease: withDefault(milliseconds(100), 10_000),
  /** How long the store may fail to answer before the clients' responses fail, in milliseconds. Default 30000. */
  storeTimeout: withDefault(milliseconds(1), 30_000),
  /** How often the store is read when it does not report a change, in milliseconds from 10. Default 2000. */
  poll: withDefault(milliseconds(10), 2000),
  /** Receives a line for what happens to the hub's streams; a pino logger fits. Default: no logging. */
  logger: sourceOptions.logger,
}

/**
 * Options of {@link createSseHub}. All times in milliseconds.
 *
 * @example
 * ```ts
 * import { createSseHub, type HubOptions } from 'resilient-sse'
 *
 * const options: HubOptions = { windowBytes: 256 * 1024, logger: console }
 * const hub = createSseHub(options)
 * ```
 */
export interface HubOptions extends OptionsOf<typeof hubOptions> {}

/** {@link HubOptions}, checked, with the defaults filled in. */
export interface CheckedHubOptions extends Omit<ValuesOf<typeof hubOptions>, 'store'> {
  readonly store: StreamStore
  readonly logger: Logger | undefined
}

/** @throws `TypeError` or `RangeError` that names a wrong option. */
export function checkHubOptions(options: HubOptions): CheckedHubOptions {
  const checked = checkOptions(hubOptions, options, '', { relay: relayOptions })
  return { ...checked, store: checked.store ?? memoryStore() }
}

export const retentionOptions = {
  /** The most events that the log keeps. Default 10000. */
  events: withDefault(count(1), 10_000, 'the most events that a shared stream keeps'),
  /** The most bytes of events that the log keeps; the latest entry is always kept. Default 4194304 (4 MiB). */
  bytes: withDefault(bytes(1), 4 * 1024 * 1024, 'the most bytes that a shared stream keeps'),
  /**
   * How long the log keeps an event, in milliseconds. Older events are removed when the next one is stored: the log of a silent stream
   * keeps them. Default: events are kept however old they are.
   */
  age: optional(milliseconds(1), 'how long a shared stream keeps an event'),
}

/**
 * Which events a log keeps.
 *
 * @example
 * ```ts
 * import type { RetentionOptions, SharedStreamOptions } from 'resilient-sse'
 *
 * const retention: RetentionOptions = { events: 1000, age: 60_000 }
 * const options: SharedStreamOptions = { retention }
 * ```
 */
export interface RetentionOptions extends OptionsOf<typeof retentionOptions> {}

const retentionKind: Kind<ValuesOf<typeof retentionOptions>, RetentionOptions> = {
  check: (given, name) => checkOptions(retentionOptions, given, name),
}

const {
  objectMode,
  tracker,
  highWaterMark,
  lastEventId,
  signal,
  windowBytes,
  comments,
  initialResponse,
  ...upstreamOptions
} = sourceOptions
const { head, headTimeout, clientReconnects, retry, errorEvent, refusal, statusEvents, drain } = relayOptions
const { heartbeat, transform } = relayOptions

const optionsOfUpstream = { ...upstreamOptions, heartbeat, transform }
const optionsOfReply = {
  lastEventId,
  signal,
  head,
  headTimeout,
  clientReconnects,
  retry,
  errorEvent,
  refusal,
  statusEvents,
  drain,
}

export const optionsOfLog = {
  /**
   * How long the upstream stays open when no client listens, in milliseconds; `Infinity`: until the stream ends. The next
   * client after that opens a new connection, which resumes. Default 10000.
   */
  linger: withDefault(
    number(0, Number.POSITIVE_INFINITY, 'MS'),
    10_000,
    'how long the upstream of a shared stream stays open without clients',
  ),
  /** Which events the log keeps for clients that come late or return. */
  retention: withDefault(retentionKind, {}),
  /** How long the log is kept after the end of the stream, in milliseconds. Default 300000 (5 minutes). */
  keepFor: withDefault(milliseconds(), 300_000, 'how long a shared stream is kept after its end'),
  /**
   * How long a client may take nothing before it is disconnected, in milliseconds; 0: no limit. A client takes something when
   * its connection has accepted all bytes that were written, at most 64 kB at a time, or one larger event; the time begins with
   * the first event that has to wait. Default 60000.
   */
  stallTimeout: withDefault(
    milliseconds(),
    60_000,
    'how long a client of a shared stream may take nothing; 0: no limit',
  ),
  /**
   * How long a client's response stays open, in milliseconds, less a random part of up to a tenth; the client then gets a
   * reconnection time, and returns. Default: responses stay open.
   */
  maxAge: optional(milliseconds(1), 'how long a response with a shared stream stays open'),
}

export const optionsOfPlace = {
  /** Where a client without a `Last-Event-ID` starts: at the latest event, or at the oldest that is kept. Default `'live'`. */
  from: withDefault(
    choice('live', 'start'),
    'live',
    'where a client without an id starts in a shared stream: at the latest event or the oldest',
  ),
  /**
   * What happens when events are missing before those that the client would get next: `'continue'` sends the oldest events that
   * are kept, after a `relay-status` event with `statusEvents`; `'refuse'` answers with 410, or breaks an open response. Default
   * `'continue'`; `'refuse'` where `resume` does not allow to ask the upstream again after the first event.
   */
  onGap: optional(
    choice('continue', 'refuse'),
    'what happens when a client has missed events that are no longer kept; none: by resume',
  ),
  /**
   * Whether a client without a place in the stream gets a block with an id alone, so that it can resume even before its first
   * event. Default: only an EventSource does, which is a GET whose `Accept` names `text/event-stream` and whose `Cache-Control` is
   * `no-cache`; other clients may take the block for an empty event.
   */
  joinId: optional(flag),
}

/** The options that a relay of one client's own upstream does not have. */
export const logOptions = { ...optionsOfLog, ...optionsOfPlace }

export const optionsOfHead = {
  /**
   * Whether the client gets the header fields of the upstream's response, such as `access-control-allow-origin`: those that hold
   * for all clients, which `set-cookie` does not. The fields are known in the process that has the upstream. Default false: of
   * those fields the client gets `content-type` and `cache-control`.
   */
  upstreamFields: withDefault(flag, false),
}

/** The options that are the same for all clients of a stream. */
const streamOptions = { ...optionsOfUpstream, ...optionsOfLog }
/** The options that each client has for itself. */
const clientOptions = { ...optionsOfReply, ...optionsOfPlace, ...optionsOfHead }
const sharedOptions = { ...streamOptions, ...clientOptions }
const subscribeOptions = {
  ...streamOptions,
  ...optionsOfPlace,
  lastEventId,
  signal,
  objectMode,
  highWaterMark,
}

/**
 * Options of {@link SseHub.relay}, `respond` and `start`. All times in milliseconds.
 *
 * @example
 * ```ts
 * import type { SharedStreamOptions } from 'resilient-sse'
 *
 * const answers: SharedStreamOptions = {
 *   from: 'start',
 *   linger: Number.POSITIVE_INFINITY,
 *   resume: 'before-first-event',
 *   isTerminal: ({ data }) => data === '[DONE]',
 * }
 * ```
 */
export interface SharedStreamOptions
  extends Pick<SourceOptions, keyof typeof upstreamOptions>,
    Pick<RelayOptions, 'heartbeat' | 'transform' | keyof typeof optionsOfReply>,
    OptionsOf<typeof optionsOfLog>,
    OptionsOf<typeof optionsOfPlace>,
    OptionsOf<typeof optionsOfHead> {}

/**
 * Options of {@link SseHub.subscribe}. All times in milliseconds. Those of the stream hold for all of its clients, where this call is the
 * first one for the stream. Three of them concern clients that are responses, and do nothing to the subscription: `heartbeat`,
 * `stallTimeout` and `maxAge`.
 *
 * @example
 * ```ts
 * import { createSseHub, httpUpstream, type SubscribeOptions } from 'resilient-sse'
 *
 * const options: SubscribeOptions = { from: 'start', signal: AbortSignal.timeout(60_000) }
 * const bytes = createSseHub().subscribe('feed', httpUpstream('http://localhost:3000/events'), options)
 * ```
 */
export interface SubscribeOptions
  extends Pick<SourceOptions, keyof typeof upstreamOptions>,
    Pick<SourceOptions, 'lastEventId' | 'signal' | 'objectMode' | 'highWaterMark'>,
    Pick<RelayOptions, 'heartbeat' | 'transform'>,
    OptionsOf<typeof optionsOfLog>,
    OptionsOf<typeof optionsOfPlace> {}

/** The options of a stream, checked, with the defaults filled in. */
export interface CheckedStreamOptions extends ValuesOf<typeof streamOptions> {}

/** The options of a client, checked, with the defaults filled in. */
export interface CheckedClientOptions extends ValuesOf<typeof clientOptions> {
  /** The hub has one timer for the heartbeats of all clients. */
  readonly heartbeat: 0
}

/** The options of a subscription besides those of its stream, checked, with the defaults filled in. */
export interface CheckedSubscribeOptions
  extends Omit<ValuesOf<typeof subscribeOptions>, keyof typeof streamOptions> {}

const elsewhere: Elsewhere = {
  createSseHub: hubOptions,
  reconnect: reconnectOptions,
  retention: retentionOptions,
  relaySse: relayOptions,
  createResilientSseSource: sourceOptions,
}

const shareOfClient = sharing<CheckedClientOptions>()
const shareOfStream = sharing<CheckedStreamOptions>()
const shareRetention = sharing<CheckedStreamOptions['retention']>()

/** @throws `TypeError` or `RangeError` that names the option and the value. */
export function checkSharedOptions(options: SharedStreamOptions): {
  readonly stream: CheckedStreamOptions
  readonly client: CheckedClientOptions
} {
  refuseUnknown(sharedOptions, options, '', elsewhere)
  const client = { ...readOptions(clientOptions, options), heartbeat: 0 } as const
  return { stream: streamOptionsOf(options), client: shareOfClient(client) }
}

/** @throws `TypeError` or `RangeError` that names the option and the value. */
export function checkSubscribeOptions(options: SubscribeOptions): {
  readonly stream: CheckedStreamOptions
  readonly subscription: CheckedSubscribeOptions
} {
  const checked = checkOptions(subscribeOptions, options, '', elsewhere)
  return { stream: streamOptionsOf(options), subscription: checked }
}

function streamOptionsOf(options: SubscribeOptions): CheckedStreamOptions {
  const values = readOptions(streamOptions, options)
  return shareOfStream({ ...values, retention: shareRetention(values.retention) })
}

/**
 * The names of the stream's options that two callers give different values. Two functions count as the same: most callers write a
 * new one for each request.
 */
export function differences(one: CheckedStreamOptions, other: CheckedStreamOptions): string[] {
  // As nearly always: thousands of clients come with the same options.
  if (one === other) return []
  return Object.keys(streamOptions).filter((name) => {
    if (name === 'logger') return false
    const [first, second] = [one, other].map((options) =>
      JSON.stringify(Reflect.get(options, name), nameFunctions),
    )
    return first !== second
  })
}

function nameFunctions(_: string, value: unknown): unknown {
  return typeof value === 'function' ? 'function' : value
}

/** @throws `TypeError` for a name that is not a string of 1 to 512 bytes. */
export function checkStreamName(name: unknown): string {
  const length = typeof name === 'string' ? Buffer.byteLength(name) : 0
  if (typeof name !== 'string' || length === 0 || length > 512) {
    throw new TypeError('stream must be a string of 1 to 512 bytes')
  }
  return name
}
