import { type Channel, channel } from 'node:diagnostics_channel'
import debug from 'debug'
import type { SseError } from './errors.ts'
import type { SseEvent } from './wire/event.ts'

/** Why an open connection is no more: a clean end, a reset or premature close, or silence for `idleTimeout`. */
export type DropReason = 'end' | 'reset' | 'idle-timeout'

/**
 * What set a delay: our backoff from `baseDelay`, the same from the upstream's `retry:`, the upstream's Retry-After,
 * or a clean end after progress, which is met at once.
 */
export type DelaySource = 'backoff' | 'retry' | 'retry-after' | 'clean-end'

/** Which stream a message is about. */
export interface StreamMessage {
  /** The stream: the source, or the dedupe Transform. The same object in each of its messages. */
  readonly stream: object
  /** Its `name`, or else the upstream's URL when that is known, without credentials and query values. */
  readonly name: string | undefined
}

/** A connection is open: status and content type are right, its bytes follow. */
export interface OpenMessage extends StreamMessage {
  /** Which call of the factory in this outage opened it, from 0; -1 for an adopted `initialResponse`. */
  readonly attempt: number
  /** How many connections were open before this one. */
  readonly opens: number
  /** The cursor when it opened: where the factory was told to resume, if anywhere. */
  readonly cursor: string | undefined
}

/** An open connection was lost, or ended. */
export interface DropMessage extends StreamMessage {
  readonly reason: DropReason
  /** `ERR_SSE_DROPPED` or `ERR_SSE_IDLE_TIMEOUT`, with the platform's error as its `cause`. */
  readonly error: SseError
  /** How long the connection was open, in milliseconds. */
  readonly duration: number
  /** Whether it made progress: brought a fresh event, or lived for `stableAfter`. */
  readonly progress: boolean
}

/** The next attempt is due. */
export interface RetryMessage extends StreamMessage {
  /** Number of the attempt that follows, 0 being the first of an outage. */
  readonly attempt: number
  /** Milliseconds until then. */
  readonly delay: number
  /** What set the delay. */
  readonly source: DelaySource
  /** What made the attempt necessary. */
  readonly error: SseError
}

/** A connection opened that could not be told where to resume: events may be missing before its first. */
export interface GapMessage extends StreamMessage {
  /** The cursor that could not be sent (it holds control characters), or none where none was known. */
  readonly cursor: string | undefined
}

/** A repeated event was dropped. */
export interface DuplicateMessage extends StreamMessage {
  readonly event: SseEvent
}

/** The stream is over. */
export interface EndMessage extends StreamMessage {
  /** What it failed with; absent when it ended, or was destroyed without an error. */
  readonly error: Error | undefined
  /** How long the last connection had been open, in milliseconds; absent when none was open. */
  readonly duration: number | undefined
}

/** The messages of the `diagnostics_channel`s, each under `resilient-sse:<key>`. */
export interface Messages {
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
  open: topic('open', ({ opens }) => (opens === 0 ? 'debug' : 'info'), 'upstream open'),
  drop: topic('drop', () => 'info', 'upstream dropped'),
  retry: topic('retry', () => 'info', 'upstream retry'),
  gap: topic('gap', () => 'warn', 'events may be missing'),
  duplicate: topic('duplicate', () => 'debug', 'duplicate dropped'),
  end: topic('end', ({ error }) => (error && error.name !== 'AbortError' ? 'error' : 'debug'), 'stream over'),
}

/** Announces what happened to everybody who may want to know: the channel, the debug log, the stream's logger. */
export function announce<K extends keyof Messages>(name: K, message: Messages[K], logger?: Logger): void {
  const { channel, debug, level, text }: Topic<K> = topics[name]
  if (channel.hasSubscribers) channel.publish(message)
  if (!debug.enabled && logger === undefined) return
  const fields = loggable(message)
  if (debug.enabled) debug('%s %o', text, fields)
  logger?.[level(message)](fields, text)
}

/** A message as log fields: without the stream itself, errors under pino's key, no event data. */
function loggable(message: StreamMessage & { error?: Error | undefined; event?: SseEvent }): object {
  const { stream: _, error, event, name, ...fields } = message
  return {
    ...(name !== undefined && { upstream: name }),
    ...fields,
    ...(event !== undefined && { id: event.id }),
    ...(error !== undefined && { err: error }),
  }
}
