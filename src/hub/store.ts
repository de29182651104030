/** A place in a shared stream: the number of a run, and the number of an event within the run. Positions are ordered. */
export interface Position {
  readonly epoch: number
  /** The events of a run are numbered from 1; 0 is the place before the first event. */
  readonly seq: number
}

/** The `seq` of an `end` entry: no later entry of the same epoch can follow it. */
const endSeq = Number.MAX_SAFE_INTEGER

interface EntryBase {
  readonly epoch: number
  /** When the entry was made, in milliseconds since 1970. */
  readonly at: number
}

/** The first entry of a run. */
export interface OpenEntry extends EntryBase {
  readonly kind: 'open'
  /** The position of the entry before this one; undefined when the log was empty. */
  readonly previous: Position | undefined
}

/** Events that arrived together. */
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
}

/** The last entry of a stream. */
export interface EndEntry extends EntryBase {
  readonly kind: 'end'
  readonly how: 'ended' | 'failed' | 'cancelled'
  /** The position of the entry before this one; undefined when the log was empty. */
  readonly previous: Position | undefined
  /** With `failed`: the error's code; undefined for an error without one. */
  readonly code: string | undefined
  /** With `failed`: the upstream's status; undefined without one. */
  readonly status: number | undefined
  /** With `failed` the error's message, with `cancelled` the reason; undefined without one. */
  readonly reason: string | undefined
}

export type Entry = OpenEntry | EventsEntry | EndEntry

export interface OpenOptions {
  /** How long the owner holds the stream without renewing, in milliseconds. */
  readonly lease: number
  /** How long the log is kept after the lease, in milliseconds. */
  readonly keepFor: number
  /** Ends the stream instead, as cancelled: an `end` entry with this reason is written, whoever holds the lease. */
  readonly force?: string | undefined
}

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
 * Keeps the logs of shared streams, and decides who may append. `resilient-sse/store-tests` has the tests that every
 * implementation must pass.
 *
 * Each function may reject, or answer late; the hub calls it again. A repeated call must not change the result.
 */
export interface StreamStore {
  /**
   * Makes `owner` the only one who may append, in a new epoch that is higher than every earlier one, and appends an `open`
   * entry. An owner that already holds the lease gets a new epoch. With `force` the stream is ended instead; a stream that
   * does not exist, or has ended, answers `ended`.
   */
  open(stream: string, owner: string, options: OpenOptions): Promise<OpenResult>
  /**
   * Appends an entry. `fenced` when a later epoch was opened, or the log no longer exists. Appending the latest entry again
   * is `stored` again, and appends nothing.
   *
   * @param trimBefore - Entries that end before this position may be removed. The latest entry is never removed.
   */
  append(stream: string, entry: EventsEntry | EndEntry, trimBefore?: Position): Promise<'stored' | 'fenced'>
  /**
   * Extends the lease and the log; a lease of 0 gives the lease up, and the log is kept for `keepFor` milliseconds.
   *
   * @returns `held`: whether `owner` held the lease; `listeners`: how many processes watch the stream.
   */
  renew(
    stream: string,
    owner: string,
    lease: number,
    keepFor: number,
  ): Promise<{ readonly held: boolean; readonly listeners: number }>
  /**
   * Reads entries that end at or after `from`, oldest first; `'last'` reads the latest entry.
   *
   * @param limit - The most bytes of events to read; at least one entry is read, if there is one.
   */
  read(stream: string, from: Position | 'first' | 'last', limit: number): Promise<readonly Entry[]>
  /**
   * Calls `wake` when the log or its lease may have changed. Calls that are late, repeated or missing only cost time.
   *
   * @returns A function that stops the calls.
   */
  watch(stream: string, wake: () => void): () => void
  /** Closes what the store itself has opened. */
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
