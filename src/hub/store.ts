/**
 * A place in a shared stream: the number of a run, and the number of an event within the run. Positions are ordered.
 *
 * @example
 * ```ts
 * import type { Position } from 'resilient-sse'
 *
 * const isBefore = (a: Position, b: Position) => a.epoch < b.epoch || (a.epoch === b.epoch && a.seq < b.seq)
 * ```
 */
export interface Position {
  readonly epoch: number
  /** The events of a run are numbered from 1; 0 is the place before the first event. */
  readonly seq: number
}

/** The `seq` of an `end` entry: no later entry of the same epoch can follow it. */
export const endSeq = Number.MAX_SAFE_INTEGER

interface EntryBase {
  readonly epoch: number
  /** When the entry was made, in milliseconds since 1970. */
  readonly at: number
}

/**
 * The first entry of a run.
 *
 * @example
 * ```ts
 * import type { OpenEntry } from 'resilient-sse'
 *
 * const isFirstRun = ({ previous }: OpenEntry) => previous === undefined
 * ```
 */
export interface OpenEntry extends EntryBase {
  readonly kind: 'open'
  /** The position of the entry before this one; undefined when the log was empty. */
  readonly previous: Position | undefined
}

/**
 * Events that arrived together.
 *
 * @example
 * ```ts
 * import type { EventsEntry } from 'resilient-sse'
 *
 * const countOf = ({ first, last }: EventsEntry) => last - first + 1
 * ```
 */
export interface EventsEntry extends EntryBase {
  readonly kind: 'events'
  /** The `seq` of the first event. */
  readonly first: number
  /** The `seq` of the last event. */
  readonly last: number
  /** The events as clients get them, ids included. */
  readonly bytes: Buffer
  /** Where the upstream can be resumed after these events; undefined when unknown. */
  readonly cursor: string | undefined
  /** Whether events of the upstream may be missing before these: it could not be resumed. Default false. */
  readonly gap?: boolean | undefined
}

/**
 * The last entry of a stream.
 *
 * @example
 * ```ts
 * import type { EndEntry } from 'resilient-sse'
 *
 * const line = ({ how, reason = '' }: EndEntry) => `the stream has ${how} ${reason}`
 * ```
 */
export interface EndEntry extends EntryBase {
  readonly kind: 'end'
  readonly how: 'ended' | 'failed' | 'cancelled'
  /** The position of the entry before this one; undefined when the log was empty. */
  readonly previous: Position | undefined
  /** With `failed`: the error's code; undefined for an error without one. */
  readonly code: string | undefined
  /** With `failed`: the upstream's status; undefined without one. */
  readonly status: number | undefined
  /** With `failed`: the header fields of the upstream's refusal, a line for each; undefined without one. */
  readonly fields: string | undefined
  /** With `failed`: the body of the upstream's refusal, of at most 64 KiB; undefined without one. */
  readonly body: Buffer | undefined
  /** With `failed` the error's message, with `cancelled` the reason; undefined without one. */
  readonly reason: string | undefined
}

/**
 * What is in the log of a stream, in the order of its positions.
 *
 * @example
 * ```ts
 * import type { Entry } from 'resilient-sse'
 *
 * const sizeOf = (entry: Entry) => (entry.kind === 'events' ? entry.bytes.length : 0)
 * ```
 */
export type Entry = OpenEntry | EventsEntry | EndEntry

/**
 * How {@link StreamStore.open} opens a stream.
 *
 * @example
 * ```ts
 * import type { OpenOptions, StreamStore } from 'resilient-sse'
 *
 * const options: OpenOptions = { lease: 10_000, keepFor: 300_000 }
 * const open = (store: StreamStore) => store.open('feed', 'process 1, run 1', options)
 * ```
 */
export type OpenOptions =
  | {
      /** How long the owner holds the stream without renewing, in milliseconds. */
      readonly lease: number
      /** How long the log is kept after the lease, in milliseconds. */
      readonly keepFor: number
      readonly force?: undefined
    }
  | {
      /** Not used. */
      readonly lease: number
      /** How long the log is kept, in milliseconds; undefined: as long as it would be without this call. */
      readonly keepFor: number | undefined
      /** Ends the stream instead, as cancelled: an `end` entry with this reason is written, whoever holds the lease. */
      readonly force: string
    }

/**
 * What {@link StreamStore.open} answers: the run's epoch, or why there is none.
 *
 * @example
 * ```ts
 * import type { OpenResult } from 'resilient-sse'
 *
 * const epochOf = (result: OpenResult) => (result.state === 'open' ? result.epoch : undefined)
 * ```
 */
export type OpenResult =
  | {
      readonly state: 'open'
      readonly epoch: number
      /** The position of the latest entry before this run; undefined when the log was empty. */
      readonly previous: Position | undefined
    }
  /** Another owner holds the lease, for `retryAfter` milliseconds unless it renews. */
  | { readonly state: 'held'; readonly retryAfter: number }
  | { readonly state: 'ended' }

/**
 * What a store says of an append.
 *
 * @example
 * ```ts
 * import type { AppendResult } from 'resilient-sse'
 *
 * const mayGoOn = (result: AppendResult) => result === 'stored'
 * ```
 */
export type AppendResult = 'stored' | 'fenced' | 'missing'

/**
 * Keeps the logs of shared streams, and decides who may append. `resilient-sse/store-tests` has the tests that every
 * implementation must pass.
 *
 * Each function may reject, or answer late: the hub then calls it again, and the first call may be carried out after the second
 * one. A call that is carried out again must not change the log again. A call that rejects with an SseError
 * `ERR_SSE_STORE` is not made again: no repetition can mend the error.
 *
 * The name of a stream is any string of 1 to 512 bytes in UTF-8. Streams are independent of each other.
 *
 * @example
 * ```ts
 * import { memoryStore, type StreamStore } from 'resilient-sse'
 *
 * class CountingStore implements StreamStore {
 *   appended = 0
 *   readonly #store = memoryStore()
 *   open: StreamStore['open'] = (...args) => this.#store.open(...args)
 *   renew: StreamStore['renew'] = (...args) => this.#store.renew(...args)
 *   read: StreamStore['read'] = (...args) => this.#store.read(...args)
 *   watch: StreamStore['watch'] = (...args) => this.#store.watch(...args)
 *   append: StreamStore['append'] = (...args) => {
 *     this.appended++
 *     return this.#store.append(...args)
 *   }
 * }
 * ```
 */
export interface StreamStore {
  /**
   * Makes `owner` the only one who may append, in a new epoch that is higher than every earlier one, and appends an `open`
   * entry. The epoch is also higher than those of a log that no longer exists, as far as the store can know.
   *
   * An owner is one run: the hub uses a new name for each. The owner of the latest epoch is given the same answer again, with
   * the lease anew, and no entry is appended, whatever was appended in the epoch meanwhile. This is so as well when the lease
   * has run out and no other owner has opened the stream, but not when the owner has given its lease up.
   *
   * With `force` the stream is ended instead, in a new epoch that is answered as `open`; the log is kept for `keepFor`
   * milliseconds, and no owner has the lease. Where `keepFor` is undefined, the log is kept as long as it would be without the call. A
   * stream that does not exist, or has ended, answers `ended`.
   */
  open(stream: string, owner: string, options: OpenOptions): Promise<OpenResult>
  /**
   * Appends an entry. `fenced` when a later epoch was opened, the epoch has ended, or the log no longer exists: then nothing
   * changes, and no log is created. The end of a lease alone fences no owner.
   *
   * `missing` when the store has lost the entry before this one, which it had acknowledged, but not the `open` entry of the epoch:
   * then nothing changes, and the hub appends the lost entries again. A store that loses nothing never answers so.
   *
   * Appending the latest entry again is `stored` again, and appends nothing. An earlier entry of the epoch is not appended
   * again either; the hub ignores the answer.
   *
   * @param trimBefore - Entries that end before this position may be removed, at once or by a later call. The latest entry is
   * never removed.
   */
  append(stream: string, entry: EventsEntry | EndEntry, trimBefore?: Position): Promise<AppendResult>
  /**
   * Sets the lease to `lease` milliseconds from now, and keeps the log for `keepFor` milliseconds after the lease; a lease of 0
   * gives the lease up. An owner whose lease has run out gets it again, unless another owner has opened the stream. A call for
   * any other owner changes nothing.
   *
   * @returns `held`: whether `owner` is the owner of the latest epoch, and has not given its lease up before; `listeners`: how
   * many processes watch the stream, which matters to the owner alone; `latest`: the position of the latest entry, from a store that may
   * lose entries that it has acknowledged. The owner then appends again what is missing. A store may leave it out when an append since
   * the last renewal has found nothing missing.
   */
  renew(
    stream: string,
    owner: string,
    lease: number,
    keepFor: number,
  ): Promise<{ readonly held: boolean; readonly listeners: number; readonly latest?: Position | undefined }>
  /**
   * Reads entries that end at or after `from`, oldest first; `'last'` reads the latest entry. A log that does not exist has no
   * entries. Every position is allowed, also one that no entry has.
   *
   * @param limit - The most bytes of events to read; at least one entry is read, if there is one. Fewer entries than fit may be
   * read: the caller reads on until no entry follows.
   */
  read(stream: string, from: Position | 'first' | 'last', limit: number): Promise<readonly Entry[]>
  /**
   * Calls `wake` when the log or its lease may have changed: after an entry was appended, or a lease was given up. Calls that are
   * late, repeated or missing only cost time.
   *
   * A store that knows which entry was appended passes its position as `latest`: the hub then reads no entry that it has.
   *
   * @returns A function that stops the calls: none follows. It may be called again.
   */
  watch(stream: string, wake: (latest?: Position) => void): () => void
  /** Closes what the store itself has opened. Called when the hub is closed: a store with this function belongs to one hub. */
  close?(): Promise<void>
}

/** The position of an entry: that of its last event. */
export function positionOf(entry: Entry): Position {
  const { epoch } = entry
  if (entry.kind === 'open') return { epoch, seq: 0 }
  return { epoch, seq: entry.kind === 'end' ? endSeq : entry.last }
}

/** Negative when `a` is before `b`, 0 when both are the same place. */
export function comparePositions(a: Position, b: Position): number {
  return a.epoch - b.epoch || a.seq - b.seq
}

/** Whether an entry holds the event at a position, or follows that event without a gap. */
export function continues(entry: Entry, after: Position): boolean {
  if (entry.kind === 'events') {
    return entry.epoch === after.epoch && entry.first <= after.seq + 1 && entry.last >= after.seq
  }
  if (entry.kind === 'open' && entry.epoch === after.epoch && after.seq === 0) return true
  if (entry.kind === 'end' && entry.epoch === after.epoch && after.seq === endSeq) return true
  return entry.previous !== undefined && comparePositions(entry.previous, after) === 0
}

/** The position before an entry's first event. */
export function beginningOf(entry: Entry): Position {
  return entry.kind === 'events' ? { epoch: entry.epoch, seq: entry.first - 1 } : positionOf(entry)
}
