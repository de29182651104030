import {
  comparePositions,
  type EndEntry,
  type Entry,
  type EventsEntry,
  type OpenOptions,
  type OpenResult,
  type Position,
  positionOf,
  type StreamStore,
} from './store.ts'

/** The shortest interval at which expired streams are removed, in milliseconds. */
const sweepInterval = 1000

interface Stored {
  readonly entries: Entry[]
  /** The owner of the latest epoch; undefined once the lease was given up, or the stream was ended by force. */
  owner: string | undefined
  /** What the owner was answered. */
  opened: Extract<OpenResult, { readonly state: 'open' }>
  /** On the clock of `performance.now()`, as `expires`. */
  leasedUntil: number
  expires: number
}

/**
 * Keeps the logs of shared streams in the memory of this process. Hubs of the same process may share one store. The logs are
 * lost when the process ends.
 *
 * @example
 * ```ts
 * import { createSseHub, memoryStore } from 'resilient-sse'
 *
 * const store = memoryStore()
 * const feeds = createSseHub({ store })
 * const others = createSseHub({ store })
 * ```
 */
export function memoryStore(): StreamStore {
  return new MemoryStore()
}

/** A store whose appends need no promise. */
export interface LocalStore {
  /**
   * The log of a stream, also where it is made later. Its user must watch the stream as long as it uses the log, and is woken for
   * entries of its own only where others watch the stream too.
   */
  logOf(stream: string): LocalLog
}

/** The log of one stream. */
export interface LocalLog {
  /** Does the same as `append` of a store, at once. */
  append(entry: EventsEntry | EndEntry, trimBefore?: Position): 'stored' | 'fenced'
}

/** What a store has of one stream: its log, and who watches it. */
class MemoryStream implements LocalLog {
  readonly watchers = new Set<() => void>()
  #log: Stored | undefined

  /** The log; undefined when there is none, or it has expired. */
  get log(): Stored | undefined {
    if (this.#log && this.#log.expires <= performance.now()) this.#log = undefined
    return this.#log
  }

  set log(log: Stored) {
    this.#log = log
  }

  append(entry: EventsEntry | EndEntry, trimBefore?: Position): 'stored' | 'fenced' {
    const result = this.add(entry, trimBefore)
    if (result === 'stored' && this.watchers.size > 1) this.wake()
    return result
  }

  /** Appends an entry, and wakes no watcher. */
  add(entry: EventsEntry | EndEntry, trimBefore?: Position): 'stored' | 'fenced' {
    const entries = this.log?.entries
    const latest = entries?.at(-1)
    if (entries === undefined || latest === undefined || latest.epoch !== entry.epoch) return 'fenced'
    const order = comparePositions(positionOf(entry), positionOf(latest))
    if (order === 0 && latest.kind === entry.kind) return 'stored'
    if (order <= 0) return 'fenced'
    entries.push(entry)
    if (trimBefore) trim(entries, trimBefore)
    return 'stored'
  }

  wake(): void {
    for (const wake of this.watchers) wake()
  }
}

/** A store that is a {@link memoryStore}; undefined for any other store. */
export function localStoreOf(store: StreamStore): LocalStore | undefined {
  return store instanceof MemoryStore ? store : undefined
}

class MemoryStore implements StreamStore, LocalStore {
  readonly #streams = new Map<string, MemoryStream>()
  #latestEpoch = 0
  #timer: NodeJS.Timeout | undefined

  async open(stream: string, owner: string, options: OpenOptions): Promise<OpenResult> {
    const { lease, keepFor, force } = options
    const now = performance.now()
    const stored = this.#streams.get(stream)?.log
    const latest = stored?.entries.at(-1)
    if (latest?.kind === 'end' || (force !== undefined && latest === undefined)) return { state: 'ended' }
    if (force === undefined && stored) {
      if (stored.owner === owner) {
        this.#lease(stored, lease, keepFor)
        return stored.opened
      }
      if (stored.leasedUntil > now) return { state: 'held', retryAfter: stored.leasedUntil - now }
    }
    const at = Date.now()
    const epoch = Math.max(at, this.#latestEpoch + 1, (latest?.epoch ?? 0) + 1)
    this.#latestEpoch = epoch
    const previous = latest && positionOf(latest)
    const opened = { state: 'open', epoch, previous } as const
    const log = stored ?? { entries: [], owner: undefined, opened, leasedUntil: 0, expires: 0 }
    const made = this.#make(stream)
    made.log = log
    if (force === undefined) {
      log.entries.push({ kind: 'open', epoch, at, previous })
      log.owner = owner
      log.opened = opened
      this.#lease(log, lease, keepFor)
    } else {
      const ended = { code: undefined, status: undefined, fields: undefined, body: undefined, reason: force }
      log.entries.push({ kind: 'end', how: 'cancelled', epoch, at, previous, ...ended })
      log.owner = undefined
      if (keepFor === undefined) log.leasedUntil = now
      else this.#lease(log, 0, keepFor)
    }
    made.wake()
    return opened
  }

  async append(
    stream: string,
    entry: EventsEntry | EndEntry,
    trimBefore?: Position,
  ): Promise<'stored' | 'fenced'> {
    const known = this.#streams.get(stream)
    const result = known?.add(entry, trimBefore) ?? 'fenced'
    if (result === 'stored') known?.wake()
    return result
  }

  logOf(stream: string): LocalLog {
    return this.#make(stream)
  }

  async renew(
    stream: string,
    owner: string,
    lease: number,
    keepFor: number,
  ): Promise<{ held: boolean; listeners: number }> {
    const known = this.#streams.get(stream)
    const stored = known?.log
    const held = stored !== undefined && stored.owner === owner
    if (held) {
      this.#lease(stored, lease, keepFor)
      if (lease === 0) {
        stored.owner = undefined
        known?.wake()
      }
    }
    return { held, listeners: known?.watchers.size ?? 0 }
  }

  async read(stream: string, from: Position | 'first' | 'last', limit: number): Promise<readonly Entry[]> {
    const entries = this.#streams.get(stream)?.log?.entries ?? []
    if (from === 'last') return entries.slice(-1)
    const start = from === 'first' ? 0 : indexFrom(entries, from)
    let bytes = 0
    let end = start
    for (; end < entries.length; end++) {
      const entry = entries[end]
      if (entry?.kind === 'events') bytes += entry.bytes.length
      if (bytes > limit && end > start) break
    }
    return entries.slice(start, end)
  }

  watch(stream: string, wake: () => void): () => void {
    const { watchers } = this.#make(stream)
    // A wrapper, because a caller may pass the same function twice.
    const watcher = () => wake()
    watchers.add(watcher)
    return () => {
      watchers.delete(watcher)
      this.#drop(stream)
    }
  }

  #make(stream: string): MemoryStream {
    const made = this.#streams.get(stream) ?? new MemoryStream()
    this.#streams.set(stream, made)
    return made
  }

  /** Forgets a stream that has neither a log nor a watcher. */
  #drop(stream: string): void {
    const known = this.#streams.get(stream)
    if (known?.watchers.size === 0 && !known.log) this.#streams.delete(stream)
  }

  #lease(stored: Stored, lease: number, keepFor: number): void {
    stored.leasedUntil = performance.now() + lease
    stored.expires = stored.leasedUntil + keepFor
    this.#scheduleSweep()
  }

  #scheduleSweep(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      let isKept = false
      for (const [stream, known] of this.#streams) {
        if (known.log) isKept = true
        else this.#drop(stream)
      }
      if (isKept) this.#scheduleSweep()
    }, sweepInterval).unref()
  }
}

/** The index of the first entry that ends at or after a position. */
function indexFrom(entries: readonly Entry[], from: Position): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const entry = entries[middle]
    if (entry && comparePositions(positionOf(entry), from) < 0) low = middle + 1
    else high = middle
  }
  return low
}

function trim(entries: Entry[], before: Position): void {
  const end = Math.min(indexFrom(entries, before), entries.length - 1)
  // Removing from the front moves all other entries, so a few are removed together.
  if (end >= 32 || end * 2 >= entries.length) entries.splice(0, end)
}
