import { type Channel, channel } from 'node:diagnostics_channel'
import debug from 'debug'
import type { SseError } from './errors.ts'
import type { SseEvent } from './wire/event.ts'

/** Why an open connection was lost: a clean end, a reset or premature close, or silence for `idleTimeout`. */
export type DropReason = 'end' | 'reset' | 'idle-timeout'

/**
 * What set a delay: our backoff from `baseDelay`, the same from the upstream's `retry:`, the upstream's Retry-After,
 * or a clean end after progress, after which the upstream is asked again at once.
 */
export type DelaySource = 'backoff' | 'retry' | 'retry-after' | 'clean-end'

/** How a stream came to its end: completely, with an error, or because its reader stopped it. */
export type StreamOutcome = 'ended' | 'failed' | 'aborted'

/** A snapshot of what a stream has been through. */
export interface StreamStats {
  /** Calls of the factory. */
  readonly attempts: number
  /** Connections that were open, an adopted one included. */
  readonly opens: number
  /** Connections that were lost, by reason. */
  readonly drops: Readonly<Record<DropReason, number>>
  /** Events passed on. */
  readonly events: number
  /** Repeated events dropped. */
  readonly duplicates: number
  /** Times that a connection opened without a place to resume from. */
  readonly gaps: number
  /** Bytes read from upstream bodies, after decoding. */
  readonly bytes: number
  /** Milliseconds without an open connection since the first drop or failure, a present outage included. */
  readonly downtime: number
  /** The latest failed attempt or drop. */
  readonly lastError: Error | undefined
}

/** Which stream a message is about. */
export interface StreamMessage {
  /** Number of the stream, unique within the process; the same in each of its messages. */
  readonly id: number
  /** The stream itself: a source, a relay, or a dedupe Transform. */
  readonly stream: object
  /** The option `name`. */
  readonly name: string | undefined
  /** The upstream's URL where it is known, without credentials and query values. */
  readonly upstream: string | undefined
}

/** A stream has made its first step: its upstream is about to be dialled. */
export interface StartMessage extends StreamMessage {
  /** What the stream has been through by now. To be asked until its `end` message, which has the final figures. */
  readonly stats: () => StreamStats
}

/** A connection is open: status and content type are right, its bytes follow. */
export interface OpenMessage extends StreamMessage {
  /** Which call of the factory in this outage opened it, from 0; -1 for an adopted `initialResponse`. */
  readonly attempt: number
  /** How many connections were open before this one. */
  readonly opens: number
  /** The cursor when it opened: where the factory was told to resume, if anywhere. */
  readonly cursor: string | undefined
  /** Why the connection before was lost; undefined for the stream's first. */
  readonly after: DropReason | undefined
}

/** An open connection was lost. */
export interface DropMessage extends StreamMessage {
  readonly reason: DropReason
  /** `ERR_SSE_DROPPED` or `ERR_SSE_IDLE_TIMEOUT`, with the platform's error as its `cause`. */
  readonly error: SseError
  /** How long the connection was open, in milliseconds. */
  readonly duration: number
  /** Whether it made progress: brought a fresh event, or lived for `stableAfter`. */
  readonly progress: boolean
}

/** The next attempt is due after a delay. */
export interface RetryMessage extends StreamMessage {
  /** Number of the attempt that follows, 0 being the first of an outage. */
  readonly attempt: number
  /** Milliseconds until then. */
  readonly delay: number
  /** What set the delay. */
  readonly source: DelaySource
  /** What made the attempt necessary. */
  readonly error: SseError
  /** Whether an attempt failed (true) or an open connection was lost (false). */
  readonly failed: boolean
  /** Why the latest connection was lost; undefined before the stream's first. */
  readonly after: DropReason | undefined
}

/** A connection opened that could not be told where to resume: events may be missing before its first. */
export interface GapMessage extends StreamMessage {
  /** The cursor that could not be sent, or undefined where none was known. */
  readonly cursor: string | undefined
}

/** A repeated event was dropped. */
export interface DuplicateMessage extends StreamMessage {
  readonly event: SseEvent
}

/** The stream is over. */
export interface EndMessage extends StreamMessage {
  readonly outcome: StreamOutcome
  /** What the stream failed with, or was aborted with; undefined otherwise. */
  readonly error: Error | undefined
  /** How long the connection had been open that this end has closed, in milliseconds; undefined when none was open. */
  readonly duration: number | undefined
  /** Whether the latest attempt failed, and no connection was open since. */
  readonly failed: boolean
  /** Why the latest connection was lost; undefined when none was. */
  readonly after: DropReason | undefined
  readonly stats: StreamStats
}

/** The messages of the `diagnostics_channel`s, each under `resilient-sse:<key>`. */
export interface Messages {
  start: StartMessage
  open: OpenMessage
  drop: DropMessage
  retry: RetryMessage
  gap: GapMessage
  duplicate: DuplicateMessage
  end: EndMessage
}

/** Where a stream's log lines go: the part of a pino logger that is used here. */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

let latestId = 0

/** A number for a stream that no other stream of this process has. */
export function nextStreamId(): number {
  return ++latestId
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

const topics: { readonly [K in keyof Messages]: Topic<K> } = {
  start: topic('start', () => 'debug', 'stream started'),
  open: topic('open', ({ opens }) => (opens === 0 ? 'debug' : 'info'), 'upstream open'),
  // The retry that follows says the same and more: one outage is one line for each attempt, and one for its end.
  drop: topic('drop', () => 'debug', 'upstream dropped'),
  retry: topic('retry', () => 'info', 'upstream retry'),
  gap: topic('gap', () => 'warn', 'events may be missing'),
  duplicate: topic('duplicate', () => 'debug', 'duplicate dropped'),
  end: topic('end', ({ outcome }) => (outcome === 'failed' ? 'error' : 'debug'), 'stream over'),
}

/**
 * Announces what happened to everybody who may want to know: the channel, the debug log, the stream's logger.
 *
 * The debug log and the logger are called here and not through a subscription: an exception of a channel's subscriber ends
 * the process, while one of a stream's own logger is to fail this stream only.
 */
export function announce<K extends keyof Messages>(name: K, message: Messages[K], logger?: Logger): void {
  const { channel, debug, level, text }: Topic<K> = topics[name]
  if (channel.hasSubscribers) channel.publish(message)
  if (!debug.enabled && logger === undefined) return
  const fields = loggable(message)
  if (debug.enabled) debug('%s %o', text, fields)
  logger?.[level(message)](fields, text)
}

type Loggable = StreamMessage & {
  readonly error?: Error | undefined
  readonly event?: SseEvent
  readonly stats?: unknown
}

/** A message as log fields: without the stream itself and its figures, errors under pino's key, no event data. */
function loggable(message: Loggable): object {
  const { stream: _, stats: __, id, error, event, ...others } = message
  const fields = { streamId: id, ...others, ...(event !== undefined && { id: event.id }), err: error }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
