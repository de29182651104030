import { type Page, pageOf, pageSize, passedBytes } from './page.ts'
import { comparePositions, type EventsEntry, type Position, positionOf } from './store.ts'

/** The latest events of a log, in the memory of this process: those that live readers have had, and behind them the unsent ones. */
export class LogWindow {
  readonly #mostBytes: number
  /** Oldest first; undefined where they were dropped. */
  readonly #entries: (EventsEntry | undefined)[] = []
  /** For each entry, how many bytes the log had before the entry. */
  readonly #offsets: number[] = []
  /** The index of the oldest entry: removing each entry from the front would move thousands of others. */
  #oldest = 0
  #offset = 0
  #start: Position = { epoch: 0, seq: 0 }
  /** The number of unsent entries at the end. */
  #unsent = 0

  /** @param mostBytes - The most bytes of events that stay after they were sent. */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  get hasUnsent(): boolean {
    return this.#unsent > 0
  }

  get unsentBytes(): number {
    return this.#offset - (this.#offsets[this.#offsets.length - this.#unsent] ?? this.#offset)
  }

  /** Whether the window has every event after a position. */
  reaches(after: Position): boolean {
    return comparePositions(after, this.#start) >= 0
  }

  /** Drops all events, which were sent: the next ones follow another position. */
  restart(start: Position): void {
    this.#entries.length = 0
    this.#offsets.length = 0
    this.#oldest = 0
    this.#start = start
  }

  /** Adds an entry that was not sent yet. */
  add(entry: EventsEntry): void {
    this.#entries.push(entry)
    this.#offsets.push(this.#offset)
    this.#offset += entry.bytes.length
    this.#unsent++
  }

  entriesAfter(after: Position): readonly EventsEntry[] {
    return this.#entries.slice(this.#indexAfter(after)).filter((entry) => entry !== undefined)
  }

  /** The oldest unsent events: they count as sent from now on. */
  takePage(): Page {
    const from = this.#entries.length - this.#unsent
    const only = this.#unsent === 1 ? this.#entries[from] : undefined
    if (only) {
      this.#unsent = 0
      return { bytes: only.bytes, end: positionOf(only), gap: only.gap }
    }
    const most = (this.#offsets[from] ?? 0) + pageSize
    const entries = this.#fitting(from, this.#entries.length, most)
    this.#unsent -= entries.length
    return pageOf(entries, 0)
  }

  /**
   * The page after a position that the window reaches.
   *
   * @returns Undefined when no event was sent after the position. `isJoined`: the page is a copy of several entries.
   */
  pageAfter(after: Position): { readonly page: Page; readonly isJoined: boolean } | undefined {
    const start = this.#indexAfter(after)
    const end = this.#entries.length - this.#unsent
    const entry = this.#entries[start]
    if (entry === undefined || start >= end) return undefined
    const offset = this.#offsets[start] ?? 0
    // Pages end at multiples of the page size, so that readers that start at different places soon share their pages.
    const entries = this.#fitting(start, end, offset - (offset % pageSize) + pageSize)
    return { page: pageOf(entries, passedBytes(entry, after)), isJoined: entries.length > 1 }
  }

  /** Drops the oldest events until the others are few enough. */
  shrink(): void {
    const least = this.#offset - this.#mostBytes
    let oldest = this.#oldest
    while ((this.#offsets[oldest] ?? least) < least) {
      const entry = this.#entries[oldest]
      if (entry) this.#start = positionOf(entry)
      this.#entries[oldest++] = undefined
    }
    if (oldest * 2 > this.#entries.length) {
      this.#entries.splice(0, oldest)
      this.#offsets.splice(0, oldest)
      oldest = 0
    }
    this.#oldest = oldest
  }

  /** The entries from an index on that end before an offset of the log, and before a gap; at least one. */
  #fitting(start: number, end: number, most: number): EventsEntry[] {
    const entries: EventsEntry[] = []
    for (let index = start; index < end; index++) {
      const entry = this.#entries[index]
      if (entry === undefined) break
      const isOver = (this.#offsets[index] ?? 0) + entry.bytes.length > most
      if ((isOver || entry.gap) && entries.length > 0) break
      entries.push(entry)
    }
    return entries
  }

  /** The index of the first entry that ends after a position. */
  #indexAfter(after: Position): number {
    let low = this.#oldest
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const entry = this.#entries[middle]
      if (entry && comparePositions(positionOf(entry), after) <= 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
