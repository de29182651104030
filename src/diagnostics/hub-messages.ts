/**
 * Whether this process has the upstream of a shared stream (`owner`), or serves what another process writes (`follower`).
 *
 * @example
 * ```ts
 * import type { HubFigures, StreamRole } from 'resilient-sse'
 *
 * const count = ({ streams }: HubFigures, role: StreamRole) => streams[role]
 * ```
 */
export type StreamRole = 'owner' | 'follower'

/**
 * Why a client of a shared stream misses events before its next one: `'trimmed'`, they are no longer kept; `'unknown-id'`, its last
 * event ID is not one of the stream.
 *
 * @example
 * ```ts
 * import type { HubGapReason } from 'resilient-sse'
 *
 * const gaps: Record<HubGapReason, number> = { trimmed: 0, 'unknown-id': 0 }
 * ```
 */
export type HubGapReason = 'trimmed' | 'unknown-id'

/**
 * Why a process no longer has the upstream of a shared stream:
 *
 * - `'end'`: the upstream has ended.
 * - `'failure'`: the upstream has failed.
 * - `'linger'`: no client has listened for the time of the option `linger`.
 * - `'superseded'`: another process has taken the stream over, the stream was cancelled, or the store has lost its log.
 * - `'closed'`: the hub is being closed.
 * - `'store'`: the store was away for longer than `storeTimeout`.
 * - `'not-resumable'`: this process has taken over from an owner that has stopped, and the upstream must not be asked again. The
 * upstream was not opened, and the stream has failed.
 *
 * @example
 * ```ts
 * import type { HubReleaseReason } from 'resilient-sse'
 *
 * const goesOnElsewhere = (reason: HubReleaseReason) => reason === 'superseded' || reason === 'closed'
 * ```
 */
export type HubReleaseReason =
  | 'end'
  | 'failure'
  | 'linger'
  | 'superseded'
  | 'closed'
  | 'store'
  | 'not-resumable'

/**
 * The current figures of the streams of a hub that have the same option `name`.
 *
 * @example
 * ```ts
 * import type { HubFigures } from 'resilient-sse'
 *
 * const line = ({ name = '', clients, streams }: HubFigures) => `${name}: ${clients} clients, ${streams.owner} upstreams`
 * ```
 */
export interface HubFigures {
  /** The option `name`; undefined for streams without it. */
  readonly name: string | undefined
  /** The streams of this process, by its role in them. A stream whose upstream no process has open counts as `follower`. */
  readonly streams: Readonly<Record<StreamRole, number>>
  /** The clients of this process. */
  readonly clients: number
  /** The clients that have not taken every event so far. */
  readonly catchingUp: number
}

/**
 * The field of all messages about a hub.
 *
 * @example
 * ```ts
 * import type { HubMessage } from 'resilient-sse'
 *
 * const messages = new Map<number, number>()
 * const count = ({ hub }: HubMessage) => messages.set(hub, (messages.get(hub) ?? 0) + 1)
 * ```
 */
export interface HubMessage {
  /** The hub's number, unique within the process, and the same in all its messages. */
  readonly hub: number
}

/**
 * The fields of all messages about one shared stream.
 *
 * @example
 * ```ts
 * import type { SharedStreamMessage } from 'resilient-sse'
 *
 * const isOfFeed = ({ stream }: SharedStreamMessage) => stream.startsWith('feed/')
 * ```
 */
export interface SharedStreamMessage extends HubMessage {
  /** The stream's name in the hub. */
  readonly stream: string
  /** The option `name` of the stream; undefined without it, and where this process does not know the stream. */
  readonly name: string | undefined
}

/**
 * A hub is about to serve its first stream.
 *
 * @example
 * ```ts
 * import type { HubStartMessage } from 'resilient-sse'
 *
 * const clients = ({ figures }: HubStartMessage) => figures().reduce((sum, { clients }) => sum + clients, 0)
 * ```
 */
export interface HubStartMessage extends HubMessage {
  /** Returns the current figures: one element for each option `name`. */
  readonly figures: () => readonly HubFigures[]
}

/**
 * A hub that has served streams is closed.
 *
 * @example
 * ```ts
 * import type { HubEndMessage } from 'resilient-sse'
 *
 * const hubs = new Set<number>()
 * const onEnd = ({ hub }: HubEndMessage) => hubs.delete(hub)
 * ```
 */
export interface HubEndMessage extends HubMessage {}

/**
 * This process has got the upstream of a shared stream, and opens it.
 *
 * @example
 * ```ts
 * import type { HubOpenMessage } from 'resilient-sse'
 *
 * const line = ({ stream, cursor }: HubOpenMessage) => `opening the upstream of ${stream} after ${cursor ?? 'nothing'}`
 * ```
 */
export interface HubOpenMessage extends SharedStreamMessage {
  /** The number of the run: a later run of the same stream has a higher one. */
  readonly epoch: number
  /** Whether the stream was new. False after an earlier run, of this process or of another one. */
  readonly first: boolean
  /** Where the upstream is resumed; undefined when it starts anew. */
  readonly cursor: string | undefined
}

/**
 * This process no longer has the upstream of a shared stream.
 *
 * @example
 * ```ts
 * import type { HubReleaseMessage } from 'resilient-sse'
 *
 * const isBroken = ({ reason, error }: HubReleaseMessage) => reason === 'failure' && error !== undefined
 * ```
 */
export interface HubReleaseMessage extends SharedStreamMessage {
  readonly epoch: number
  readonly reason: HubReleaseReason
  /** With `failure`, `store` and `not-resumable` the error that clients get; undefined otherwise. */
  readonly error: Error | undefined
}

/**
 * A client misses events before its next one.
 *
 * @example
 * ```ts
 * import type { HubGapMessage } from 'resilient-sse'
 *
 * const line = ({ stream, lastEventId, reason }: HubGapMessage) => `${stream}: events after ${lastEventId} are ${reason}`
 * ```
 */
export interface HubGapMessage extends SharedStreamMessage {
  readonly reason: HubGapReason
  /** The last event ID of the client's request; `''` without one. */
  readonly lastEventId: string
  /** Whether the client was refused. False: the client got the oldest events that are kept. */
  readonly refused: boolean
}

/**
 * A client was disconnected because it did not read.
 *
 * @example
 * ```ts
 * import type { HubSlowMessage } from 'resilient-sse'
 *
 * const line = ({ stream, stallTimeout }: HubSlowMessage) => `a client of ${stream} read nothing for ${stallTimeout} ms`
 * ```
 */
export interface HubSlowMessage extends SharedStreamMessage {
  /** The id of the last event that was written to the client. */
  readonly lastEventId: string
  /** How long the client had taken nothing at the least, in milliseconds: the option `stallTimeout`. */
  readonly stallTimeout: number
}

/**
 * A call in this process has cancelled a stream.
 *
 * @example
 * ```ts
 * import type { HubCancelMessage } from 'resilient-sse'
 *
 * const line = ({ stream, reason }: HubCancelMessage) => `${stream} was cancelled: ${reason}`
 * ```
 */
export interface HubCancelMessage extends SharedStreamMessage {
  /** The reason that the caller gave; `''` without one. */
  readonly reason: string
}

/**
 * A later caller gave other options than those that the stream was opened with. Announced once for each option of a stream.
 *
 * @example
 * ```ts
 * import type { HubOptionsMessage } from 'resilient-sse'
 *
 * const line = ({ stream, options }: HubOptionsMessage) => `${stream}: two callers differ in ${options.join(', ')}`
 * ```
 */
export interface HubOptionsMessage extends SharedStreamMessage {
  /** The names of the options that are ignored. */
  readonly options: readonly string[]
}

/**
 * The store does not answer, or rejects calls. They are repeated until the store has been away for `storeTimeout`.
 *
 * @example
 * ```ts
 * import type { HubStoreAwayMessage } from 'resilient-sse'
 *
 * const line = ({ error, since }: HubStoreAwayMessage) => `no store since ${new Date(since).toISOString()}: ${error.message}`
 * ```
 */
export interface HubStoreAwayMessage extends HubMessage {
  /** When the first call that failed was made, in milliseconds since 1970. */
  readonly since: number
  readonly error: Error
}

/**
 * The store answers again.
 *
 * @example
 * ```ts
 * import type { HubStoreBackMessage } from 'resilient-sse'
 *
 * const line = ({ duration }: HubStoreBackMessage) => `the store was away for ${duration} ms`
 * ```
 */
export interface HubStoreBackMessage extends HubMessage {
  /** How long no call succeeded, in milliseconds. */
  readonly duration: number
}

/**
 * The functions of a store that are called for a stream.
 *
 * @example
 * ```ts
 * import type { StoreCommand } from 'resilient-sse'
 *
 * const slowest: Record<StoreCommand, number> = { open: 0, append: 0, renew: 0, read: 0 }
 * ```
 */
export type StoreCommand = 'open' | 'append' | 'renew' | 'read'

/**
 * A store that is not in the memory of this process has answered a call, or rejected it. Not logged.
 *
 * @example
 * ```ts
 * import type { HubStoreCallMessage } from 'resilient-sse'
 *
 * const isSlow = ({ command, duration }: HubStoreCallMessage) => command === 'append' && duration > 50
 * ```
 */
export interface HubStoreCallMessage extends HubMessage {
  readonly command: StoreCommand
  /** How long the call took, in milliseconds. */
  readonly duration: number
}

/**
 * A call of the store has failed: it was rejected, or got no answer in time. Not logged; see {@link HubStoreAwayMessage}.
 *
 * @example
 * ```ts
 * import type { HubStoreErrorMessage } from 'resilient-sse'
 *
 * const line = ({ hub, error }: HubStoreErrorMessage) => `the store of hub ${hub}: ${error.message}`
 * ```
 */
export interface HubStoreErrorMessage extends HubMessage {
  readonly error: Error
}

/** The messages about hubs by the name of their `diagnostics_channel`, without its prefix `resilient-sse:`. */
export interface HubMessages {
  'hub-start': HubStartMessage
  'hub-open': HubOpenMessage
  'hub-release': HubReleaseMessage
  'hub-gap': HubGapMessage
  'hub-slow': HubSlowMessage
  'hub-cancel': HubCancelMessage
  'hub-options': HubOptionsMessage
  'hub-store-call': HubStoreCallMessage
  'hub-store-error': HubStoreErrorMessage
  'hub-store-away': HubStoreAwayMessage
  'hub-store-back': HubStoreBackMessage
  'hub-end': HubEndMessage
}
