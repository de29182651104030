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
 */
export function memoryStore(): StreamStore {
  return new MemoryStore()
}

/** Whether a store is a {@link memoryStore}. */
export function isMemoryStore(store: StreamStore): boolean {
  return store instanceof MemoryStore
}

class MemoryStore implements StreamStore {
  readonly #streams = new Map<string, Stored>()
  readonly #watchers = new Map<string, Set<() => void>>()
  #latestEpoch = 0
  #timer: NodeJS.Timeout | undefined

  async open(stream: string, owner: string, options: OpenOptions): Promise<OpenResult> {
    const { lease, keepFor, force } = options
    const now = performance.now()
    const stored = this.#find(stream)
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
    this.#streams.set(stream, log)
    if (force === undefined) {
      log.entries.push({ kind: 'open', epoch, at, previous })
      log.owner = owner
      log.opened = opened
      this.#lease(log, lease, keepFor)
    } else {
      const ended = { code: undefined, status: undefined, reason: force }
      log.entries.push({ kind: 'end', how: 'cancelled', epoch, at, previous, ...ended })
      log.owner = undefined
      this.#lease(log, 0, keepFor)
    }
    this.#wake(stream)
    return opened
  }

  async append(
    stream: string,
    entry: EventsEntry | EndEntry,
    trimBefore?: Position,
  ): Promise<'stored' | 'fenced'> {
    const entries = this.#find(stream)?.entries
    const latest = entries?.at(-1)
    if (entries === undefined || latest === undefined || latest.epoch !== entry.epoch) return 'fenced'
    const order = comparePositions(positionOf(entry), positionOf(latest))
    if (order === 0 && latest.kind === entry.kind) return 'stored'
    if (order <= 0) return 'fenced'
    entries.push(entry)
    if (trimBefore) trim(entries, trimBefore)
    this.#wake(stream)
    return 'stored'
  }

  async renew(
    stream: string,
    owner: string,
    lease: number,
    keepFor: number,
  ): Promise<{ held: boolean; listeners: number }> {
    const stored = this.#find(stream)
    const held = stored !== undefined && stored.owner === owner
    if (held) {
      this.#lease(stored, lease, keepFor)
      if (lease === 0) {
        stored.owner = undefined
        this.#wake(stream)
      }
    }
    return { held, listeners: this.#watchers.get(stream)?.size ?? 0 }
  }

  async read(stream: string, from: Position | 'first' | 'last', limit: number): Promise<readonly Entry[]> {
    const entries = this.#find(stream)?.entries ?? []
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
    const watchers = this.#watchers.get(stream) ?? new Set()
    this.#watchers.set(stream, watchers)
    // A wrapper, because a caller may pass the same function twice.
    const watcher = () => wake()
    watchers.add(watcher)
    return () => {
      watchers.delete(watcher)
      if (watchers.size === 0 && this.#watchers.get(stream) === watchers) this.#watchers.delete(stream)
    }
  }

  /** The stream's log; undefined when there is none, or it has expired. */
  #find(stream: string): Stored | undefined {
    const stored = this.#streams.get(stream)
    if (stored === undefined || stored.expires > performance.now()) return stored
    this.#streams.delete(stream)
    return undefined
  }

  #lease(stored: Stored, lease: number, keepFor: number): void {
    stored.leasedUntil = performance.now() + lease
    stored.expires = stored.leasedUntil + keepFor
    this.#scheduleSweep()
  }

  #wake(stream: string): void {
    for (const wake of this.#watchers.get(stream) ?? []) wake()
  }

  #scheduleSweep(): void {
    if (this.#timer !== undefined || this.#streams.size === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      for (const stream of this.#streams.keys()) this.#find(stream)
      this.#scheduleSweep()
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
