import { type Channel, channel } from 'node:diagnostics_channel'
import debug from 'debug'
import type { HubMessages, HubReleaseReason } from './diagnostics/hub-messages.ts'
import type { SseError } from './errors.ts'
import type { SseEvent } from './wire/event.ts'

export type {
  HubFigures,
  HubGapReason,
  HubMessages,
  HubReleaseReason,
  StoreCommand,
} from './diagnostics/hub-messages.ts'

/**
 * Why an open connection was lost: a clean end, a reset or premature close, or silence for `idleTimeout`.
 *
 * @example
 * ```ts
 * import type { DropReason, StreamStats } from 'resilient-sse'
 *
 * const dropsBy = ({ drops }: StreamStats, reason: DropReason) => drops[reason]
 * ```
 */
export type DropReason = 'end' | 'reset' | 'idle-timeout'

/**
 * What set a delay: `'backoff'`, exponential backoff from `baseDelay`; `'retry'`, exponential backoff from the upstream's
 * `retry:`; `'retry-after'`, the upstream's Retry-After; `'clean-end'`, a clean end after progress, which is followed by a
 * reconnect without backoff.
 *
 * @example
 * ```ts
 * import type { DelaySource } from 'resilient-sse'
 *
 * const isSetByUpstream = (source: DelaySource) => source === 'retry' || source === 'retry-after'
 * ```
 */
export type DelaySource = 'backoff' | 'retry' | 'retry-after' | 'clean-end'

/**
 * How a stream ended: completely, with an error, or because its reader stopped it.
 *
 * @example
 * ```ts
 * import type { EndMessage, StreamOutcome } from 'resilient-sse'
 *
 * const ends: Record<StreamOutcome, number> = { ended: 0, failed: 0, aborted: 0 }
 * const onEnd = ({ outcome }: EndMessage) => ends[outcome]++
 * ```
 */
export type StreamOutcome = 'ended' | 'failed' | 'aborted'

/**
 * A snapshot of a stream's counters.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, httpUpstream, type StreamStats } from 'resilient-sse'
 *
 * const source = createResilientSseSource(httpUpstream('http://localhost:3000/events'))
 * const { events, opens, downtime }: StreamStats = source.stats
 * ```
 */
export interface StreamStats {
  /** Calls of the factory. */
  readonly attempts: number
  /** Connections that were opened, including an adopted `initialResponse`. */
  readonly opens: number
  /** Open connections that were lost, by reason. */
  readonly drops: Readonly<Record<DropReason, number>>
  /** Events passed on. */
  readonly events: number
  /** Repeated events dropped. */
  readonly duplicates: number
  /** Connections that could not resume because no cursor could be sent: events may be missing before them. */
  readonly gaps: number
  /** Bytes read from upstream bodies, after decoding. */
  readonly bytes: number
  /** Milliseconds without an open connection since the first drop or failed attempt, including a current outage. */
  readonly downtime: number
  /** The error of the latest failed attempt or drop; undefined without one. */
  readonly lastError: Error | undefined
}

/**
 * The fields of all messages: the stream that a message is about.
 *
 * @example
 * ```ts
 * import type { StreamMessage } from 'resilient-sse'
 *
 * const prefix = ({ id, name, upstream }: StreamMessage) => `[${name ?? id} ${upstream ?? ''}]`
 * ```
 */
export interface StreamMessage {
  /** The stream's number, unique within the process, and the same in all its messages. */
  readonly id: number
  /** The stream itself: a source, a relay, or a dedupe Transform. */
  readonly stream: object
  /** The option `name`. */
  readonly name: string | undefined
  /** The upstream's URL where it is known, without credentials and query values. */
  readonly upstream: string | undefined
}

/**
 * A stream has started, and its first attempt follows.
 *
 * @example
 * ```ts
 * import type { StartMessage } from 'resilient-sse'
 *
 * const open = new Map<number, StartMessage['stats']>()
 * const onStart = ({ id, stats }: StartMessage) => open.set(id, stats)
 * ```
 */
export interface StartMessage extends StreamMessage {
  /** Returns the current counters. The `end` message has the final ones. */
  readonly stats: () => StreamStats
}

/**
 * A connection is open: its status and content type are valid, and its bytes follow.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, httpUpstream, type OpenMessage } from 'resilient-sse'
 *
 * const onOpen = ({ attempt, after }: OpenMessage) => console.log(`open with attempt ${attempt}, after ${after}`)
 * createResilientSseSource(httpUpstream('http://localhost:3000/events')).on('open', onOpen)
 * ```
 */
export interface OpenMessage extends StreamMessage {
  /** The number of the attempt in this outage, from 0; -1 for an adopted `initialResponse`. */
  readonly attempt: number
  /** How many connections of the stream were opened before this one. */
  readonly opens: number
  /** The cursor that the factory received; undefined without one. */
  readonly cursor: string | undefined
  /** Why the previous connection was lost; undefined for the stream's first connection. */
  readonly after: DropReason | undefined
}

/**
 * An open connection was lost.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, type DropMessage, httpUpstream } from 'resilient-sse'
 *
 * const onDrop = ({ reason, duration }: DropMessage) => console.log(`lost after ${duration} ms: ${reason}`)
 * createResilientSseSource(httpUpstream('http://localhost:3000/events')).on('drop', onDrop)
 * ```
 */
export interface DropMessage extends StreamMessage {
  readonly reason: DropReason
  /** `ERR_SSE_DROPPED` or `ERR_SSE_IDLE_TIMEOUT`, with the platform's error as its `cause`. */
  readonly error: SseError
  /** How long the connection was open, in milliseconds. */
  readonly duration: number
  /** Whether the connection made progress: it brought a fresh event, or was open for `stableAfter`. */
  readonly progress: boolean
}

/**
 * The next attempt is due after a delay.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, httpUpstream, type RetryMessage } from 'resilient-sse'
 *
 * const onRetry = ({ attempt, delay }: RetryMessage) => console.log(`attempt ${attempt} in ${delay} ms`)
 * createResilientSseSource(httpUpstream('http://localhost:3000/events')).on('retry', onRetry)
 * ```
 */
export interface RetryMessage extends StreamMessage {
  /** The number of the next attempt in this outage, from 0. */
  readonly attempt: number
  /** The delay before the next attempt, in milliseconds. */
  readonly delay: number
  /** What set the delay. */
  readonly source: DelaySource
  /** The failed attempt, or the drop, that is retried. */
  readonly error: SseError
  /** True after a failed attempt, false after a drop. */
  readonly failed: boolean
  /** Why the latest open connection was lost; undefined when no connection was open before. */
  readonly after: DropReason | undefined
}

/**
 * A connection was opened without a cursor, so events may be missing before its first event.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, type GapMessage, httpUpstream } from 'resilient-sse'
 *
 * const onGap = ({ upstream }: GapMessage) => console.log(`events of ${upstream} may be missing`)
 * createResilientSseSource(httpUpstream('http://localhost:3000/events')).on('gap', onGap)
 * ```
 */
export interface GapMessage extends StreamMessage {
  /** The cursor that could not be sent; undefined when the cursor was unknown. */
  readonly cursor: string | undefined
}

/**
 * A repeated event was dropped.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, type DuplicateMessage, httpUpstream } from 'resilient-sse'
 *
 * const onDuplicate = ({ event }: DuplicateMessage) => console.log(`came again: ${event.id}`)
 * createResilientSseSource(httpUpstream('http://localhost:3000/events')).on('duplicate', onDuplicate)
 * ```
 */
export interface DuplicateMessage extends StreamMessage {
  readonly event: SseEvent
}

/**
 * A connection has brought only repeats: 20 repeats, or at least two when it ended. Its upstream ignores `Last-Event-ID`, or
 * counts from 1 again, so that fresh events are taken for repeats. Announced at most once for a stream.
 *
 * @example
 * ```ts
 * import type { RepeatsMessage } from 'resilient-sse'
 *
 * const line = ({ upstream, repeats }: RepeatsMessage) => `${upstream} sent ${repeats} repeats and nothing else`
 * ```
 */
export interface RepeatsMessage extends StreamMessage {
  /** The number of repeats on this connection so far. */
  readonly repeats: number
  /** The stream's cursor. */
  readonly cursor: string | undefined
}

/**
 * The stream is over.
 *
 * @example
 * ```ts
 * import type { EndMessage } from 'resilient-sse'
 *
 * const line = ({ outcome, stats }: EndMessage) => `${outcome} after ${stats.events} events`
 * ```
 */
export interface EndMessage extends StreamMessage {
  readonly outcome: StreamOutcome
  /** The error that the stream failed or was aborted with; undefined otherwise. */
  readonly error: Error | undefined
  /** How long the connection that this end has closed was open, in milliseconds; undefined without an open connection. */
  readonly duration: number | undefined
  /** Whether the latest attempt failed. */
  readonly failed: boolean
  /** Why the latest open connection was lost; undefined when no connection was lost. */
  readonly after: DropReason | undefined
  /** The final counters. */
  readonly stats: StreamStats
}

/** The messages by the name of their `diagnostics_channel`, without its prefix `resilient-sse:`. */
export interface Messages extends HubMessages {
  start: StartMessage
  open: OpenMessage
  drop: DropMessage
  retry: RetryMessage
  gap: GapMessage
  duplicate: DuplicateMessage
  repeats: RepeatsMessage
  end: EndMessage
}

/**
 * Receives a stream's log lines; a pino logger has these methods.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, httpUpstream, type Logger } from 'resilient-sse'
 *
 * const logger: Logger = {
 *   debug: () => {},
 *   info: (fields, message) => console.log(message, fields),
 *   warn: (fields, message) => console.warn(message, fields),
 *   error: (fields, message) => console.error(message, fields),
 * }
 * const source = createResilientSseSource(httpUpstream('http://localhost:3000/events'), { logger })
 * ```
 */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

let latestId = 0
let latestHub = 0

/** A number that is unique among the streams of this process. */
export function nextStreamId(): number {
  return ++latestId
}

/** A number that is unique among the hubs of this process. */
export function nextHubId(): number {
  return ++latestHub
}

type Topic<K extends keyof Messages> = {
  readonly channel: Channel
  readonly debug: debug.Debugger
  readonly level: (message: Messages[K]) => keyof Logger
  readonly text: string
}

function topic<K extends keyof Messages>(name: K, level: Topic<K>['level'], text: string): Topic<K> {
  return { channel: channel(`resilient-sse:${name}`), debug: debug(`resilient-sse:${name}`), level, text }
}

const releaseLevels: Readonly<Record<HubReleaseReason, keyof Logger>> = {
  end: 'debug',
  // Not 'error': the upstream's own end, which comes before, has the same error.
  failure: 'debug',
  linger: 'debug',
  closed: 'debug',
  superseded: 'info',
  store: 'error',
  'not-resumable': 'error',
}

const topics: { readonly [K in keyof Messages]: Topic<K> } = {
  start: topic('start', () => 'debug', 'stream started'),
  open: topic('open', ({ opens }) => (opens === 0 ? 'debug' : 'info'), 'upstream open'),
  // Not 'info': the retry that follows has the same fields and the delay, so each attempt of an outage logs one line.
  drop: topic('drop', () => 'debug', 'upstream dropped'),
  retry: topic('retry', () => 'info', 'upstream retry'),
  gap: topic('gap', () => 'warn', 'events may be missing'),
  duplicate: topic('duplicate', () => 'debug', 'duplicate dropped'),
  repeats: topic(
    'repeats',
    () => 'warn',
    'upstream repeats events: it ignores Last-Event-ID, or counts from 1 again',
  ),
  end: topic('end', ({ outcome }) => (outcome === 'failed' ? 'error' : 'debug'), 'stream over'),
  'hub-start': topic('hub-start', () => 'debug', 'hub started'),
  'hub-open': topic('hub-open', ({ first }) => (first ? 'debug' : 'info'), 'shared upstream opened'),
  'hub-release': topic('hub-release', ({ reason }) => releaseLevels[reason], 'shared upstream released'),
  'hub-gap': topic('hub-gap', () => 'warn', 'client misses events'),
  'hub-slow': topic('hub-slow', () => 'warn', 'slow client disconnected'),
  'hub-cancel': topic('hub-cancel', () => 'info', 'shared stream cancelled'),
  'hub-options': topic(
    'hub-options',
    () => 'warn',
    'options differ from those that the stream was opened with, and are ignored',
  ),
  'hub-store-call': topic('hub-store-call', () => 'debug', 'store answered'),
  'hub-store-error': topic('hub-store-error', () => 'debug', 'call of the store failed'),
  'hub-store-away': topic('hub-store-away', () => 'warn', 'store does not answer'),
  'hub-store-back': topic('hub-store-back', () => 'info', 'store answers again'),
  'hub-end': topic('hub-end', () => 'debug', 'hub closed'),
}

/**
 * Publishes a message on its diagnostics channel, and writes it to the debug log and the stream's logger.
 *
 * The debug log and the logger are called directly and not through a subscription: an exception in a subscriber of a
 * channel ends the process, but an exception in a stream's logger must fail only this stream.
 */
export function announce<K extends keyof Messages>(name: K, message: Messages[K], logger?: Logger): void {
  const { channel, debug, level, text }: Topic<K> = topics[name]
  if (channel.hasSubscribers) channel.publish(message)
  if (!debug.enabled && logger === undefined) return
  const fields = loggable(message)
  if (debug.enabled) debug('%s %o', text, fields)
  logger?.[level(message)](fields, text)
}

/** The fields of messages that are logged in another form, or not at all. */
interface Loggable {
  readonly id?: number
  readonly hub?: number
  /** A stream that is an object is not logged, but the name of a shared stream is. */
  readonly stream?: object | string
  readonly error?: Error | undefined
  readonly event?: SseEvent
  readonly stats?: unknown
  readonly figures?: unknown
}

/** A message as log fields: without objects and functions, the error under pino's key `err`, and no event data. */
function loggable(message: Loggable): object {
  const { stream, stats: _, figures: __, id, error, event, ...others } = message
  const name = typeof stream === 'string' ? stream : undefined
  const fields = { streamId: id, stream: name, ...others, ...(event && { id: event.id }), err: error }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
