import {
  beginningOf,
  comparePositions,
  continues,
  type EndEntry,
  type Entry,
  type EventsEntry,
  type Position,
  positionOf,
  type StreamStore,
} from './store.ts'
import type { StoreAccess } from './store-access.ts'

/** The size of the pieces in which a reader that is behind gets events, in bytes. */
export const pageSize = 65_536

/** Bytes that live readers have not had, from which on the owner waits for the next turn. */
const mostUnsent = 1024 * 1024

/**
 * The most bytes that live readers get at once, unless one event is larger. A client that stops to read costs at most these bytes
 * and the response's `highWaterMark`: 16 KiB before Node 22, and 64 KiB since.
 */
const mostAtOnce = pageSize

/** The most pages that are kept for readers that want the same page. */
const mostPages = 16

/** Events that are written at once. */
export interface Page {
  readonly bytes: Buffer
  /** The position after the last event. */
  readonly end: Position
}

/** A reader that has had every event so far. */
export interface LiveReader {
  /**
   * Receives the latest events. The buffer is shared by all readers. A reader that cannot take the events leaves.
   *
   * @param end - The position after the last event. A reader that has had the events ignores the call.
   */
  onBytes(bytes: Buffer, end: Position): void
  onLogEnd(end: EndEntry): void
  /**
   * Called instead of `onBytes` when the latest events are not known to follow those before them.
   *
   * @param after - The position after the last event that the reader has had.
   */
  onMissing(after: Position): void
}

/** What follows a position of the log. */
export type Next =
  | { readonly state: 'page'; readonly page: Page }
  | { readonly state: 'live' }
  | { readonly state: 'end'; readonly end: EndEntry }
  /** The events are not in memory, and must be loaded. */
  | { readonly state: 'away' }

/** What the store has after a position. */
export type Loaded =
  | { readonly state: 'page'; readonly page: Page }
  /** The store no longer has the events that follow; `resume` is the position before its oldest event. */
  | { readonly state: 'gap'; readonly resume: Position }

/**
 * The log of one stream, as this process knows it. The latest events are kept in memory. Readers that are behind read pages of
 * them, or load pages from the store; all other readers get the events as they arrive.
 */
export class Log {
  readonly #store: StreamStore
  readonly #access: StoreAccess
  readonly #name: string
  readonly #windowBytes: number
  /** The latest entries with events, oldest first. */
  readonly #window: EventsEntry[] = []
  /** For each entry of the window, how many bytes the log had before the entry. */
  readonly #offsets: number[] = []
  #offset = 0
  /** The window has every event after this position. */
  #windowStart: Position = { epoch: 0, seq: 0 }
  #tail: Entry | undefined
  /** The position up to which live readers have had the events; undefined while the log is empty. */
  #sent: Position | undefined
  /** The number of entries at the end of the window that live readers have not had. */
  #unsent = 0
  #cursor: string | undefined
  readonly #live = new Set<LiveReader>()
  #behind = 0
  #immediate: NodeJS.Immediate | undefined
  #isFlushing = false
  readonly #onTurn = () => this.flush()
  /** By the position before the page; the oldest are dropped. */
  readonly #pages = new Map<string, Page>()
  readonly #loads = new Map<string, Promise<Loaded>>()
  #sync: Promise<void> | undefined
  #isDirty = false

  constructor(store: StreamStore, access: StoreAccess, name: string, windowBytes: number) {
    this.#store = store
    this.#access = access
    this.#name = name
    this.#windowBytes = windowBytes
  }

  /** The latest entry; undefined when the log is empty. */
  get tail(): Entry | undefined {
    return this.#tail
  }

  /** The end of the stream; undefined while it has not ended. */
  get end(): EndEntry | undefined {
    return this.#tail?.kind === 'end' ? this.#tail : undefined
  }

  /** The position up to which live readers have had the events; undefined while the log is empty. */
  get sent(): Position | undefined {
    return this.#sent
  }

  /** Where the upstream can be resumed after the latest known events; undefined when unknown. */
  get cursor(): string | undefined {
    return this.#cursor
  }

  /** Whether the latest events are being given to live readers: some have had them, and others have not. */
  get isFlushing(): boolean {
    return this.#isFlushing
  }

  /** The number of readers that have not taken every event. */
  get readersBehind(): number {
    return this.#behind
  }

  /** Called when a reader falls behind, and when it no longer is. */
  onReaderBehind(isBehind: boolean): void {
    this.#behind += isBehind ? 1 : -1
  }

  /** Reads what the store has after the latest known entry. Calls that overlap are one. */
  sync(): Promise<void> {
    this.#isDirty = true
    this.#sync ??= this.#readOn()
    return this.#sync
  }

  /** Adds an entry that the store has. An entry that is not newer than the latest one is ignored. */
  accept(entry: Entry): void {
    const position = positionOf(entry)
    const tail = this.#tail && positionOf(this.#tail)
    if (tail && comparePositions(position, tail) <= 0) return
    if (tail === undefined || !continues(entry, tail)) this.#startWindow(entry)
    this.#tail = entry
    if (entry.kind === 'events') {
      this.#window.push(entry)
      this.#offsets.push(this.#offset)
      this.#offset += entry.bytes.length
      this.#unsent++
      this.#cursor = entry.cursor
    }
    this.#immediate ??= setImmediate(this.#onTurn)
  }

  /**
   * The entries after a position, for a store that has lost them.
   *
   * @returns Undefined when they are no longer all in memory.
   */
  entriesAfter(after: Position): readonly EventsEntry[] | undefined {
    if (comparePositions(after, this.#windowStart) < 0) return undefined
    return this.#window.slice(this.#indexAfter(after))
  }

  /** Adds a reader to those that get the latest events as they arrive. */
  join(reader: LiveReader): void {
    this.#live.add(reader)
  }

  leave(reader: LiveReader): void {
    this.#live.delete(reader)
  }

  /** What follows a position, among the events that live readers have had. */
  next(after: Position): Next {
    const sent = this.#sent
    if (sent === undefined || comparePositions(after, sent) >= 0) {
      const { end } = this
      // Live readers get the end after the events before it.
      return end && sent && comparePositions(sent, positionOf(end)) === 0
        ? { state: 'end', end }
        : { state: 'live' }
    }
    if (comparePositions(after, this.#windowStart) < 0) return { state: 'away' }
    return { state: 'page', page: this.#pages.get(keyOf(after)) ?? this.#pageOfWindow(after, sent) }
  }

  /**
   * Loads the page after a position from the store. Readers that want the same page share it.
   *
   * @throws {@link SseError} `ERR_SSE_STORE`
   */
  load(after: Position): Promise<Loaded> {
    const key = keyOf(after)
    const page = this.#pages.get(key)
    if (page) return Promise.resolve({ state: 'page', page })
    const running = this.#loads.get(key)
    if (running) return running
    const load = this.#load(after).finally(() => this.#loads.delete(key))
    this.#loads.set(key, load)
    return load
  }

  /**
   * Resolves when the live readers have had the latest events; undefined when few bytes wait. Without this wait an upstream in the
   * same process, whose events are always there at once, would leave no turn of the event loop for the clients.
   */
  get room(): Promise<void> | undefined {
    const unsentFrom = this.#offsets[this.#offsets.length - this.#unsent] ?? this.#offset
    if (this.#offset - unsentFrom < mostUnsent) return undefined
    return new Promise((resolve) => setImmediate(resolve))
  }

  /** Drops the pages that were kept for readers that are behind. */
  dropPages(): void {
    this.#pages.clear()
  }

  close(): void {
    clearImmediate(this.#immediate)
    this.#live.clear()
    this.#pages.clear()
  }

  async #readOn(): Promise<void> {
    try {
      while (this.#isDirty) {
        this.#isDirty = false
        const tail = this.#tail && positionOf(this.#tail)
        const from = tail ? { epoch: tail.epoch, seq: tail.seq + 1 } : 'last'
        const entries = await this.#access.call(() => this.#store.read(this.#name, from, pageSize))
        for (const entry of entries) this.accept(entry)
        if (entries.length > 0 && from !== 'last') this.#isDirty = true
      }
    } finally {
      // In the turn of the last check: a call that came between them would read nothing.
      this.#sync = undefined
    }
  }

  /** Starts the window at an entry that does not follow the latest one. */
  #startWindow(entry: Entry): void {
    this.flush()
    this.#window.length = 0
    this.#offsets.length = 0
    const before = this.#sent
    this.#windowStart = beginningOf(entry)
    this.#sent = this.#windowStart
    if (before === undefined) return
    const live = [...this.#live]
    this.#live.clear()
    for (const reader of live) reader.onMissing(before)
  }

  /** Gives the latest events to the live readers: once a turn, and as buffers that all readers share. */
  flush(): void {
    clearImmediate(this.#immediate)
    this.#immediate = undefined
    if (this.#isFlushing) return
    this.#isFlushing = true
    try {
      this.#flush()
    } finally {
      this.#isFlushing = false
    }
  }

  #flush(): void {
    while (this.#unsent > 0) {
      const from = this.#window.length - this.#unsent
      const { page, count } = this.#join(
        from,
        this.#window.length,
        0,
        (this.#offsets[from] ?? 0) + mostAtOnce,
      )
      this.#unsent -= count
      this.#sent = page.end
      // A reader may call code that reads, closes or starts other readers: the set changes meanwhile.
      for (const reader of this.#live) reader.onBytes(page.bytes, page.end)
    }
    if (this.#tail) this.#sent = positionOf(this.#tail)
    this.#shrink()
    const { end } = this
    if (end) for (const reader of this.#live) reader.onLogEnd(end)
  }

  #shrink(): void {
    const least = this.#offset - this.#windowBytes
    let count = 0
    for (const entry of this.#window) {
      if ((this.#offsets[count] ?? least) >= least) break
      this.#windowStart = positionOf(entry)
      count++
    }
    if (count === 0) return
    this.#window.splice(0, count)
    this.#offsets.splice(0, count)
  }

  /** The page after a position that the window has. */
  #pageOfWindow(after: Position, sent: Position): Page {
    const start = this.#indexAfter(after)
    const end = this.#window.length - this.#unsent
    const entry = this.#window[start]
    if (entry === undefined || start >= end) return { bytes: Buffer.alloc(0), end: sent }
    const offset = this.#offsets[start] ?? 0
    // Pages end at multiples of the page size, so that readers that start at different places soon share their pages.
    const most = offset - (offset % pageSize) + pageSize
    const { page, count } = this.#join(start, end, passedBytes(entry, after), most)
    if (count > 1) this.#keep(after, page)
    return page
  }

  /**
   * Joins entries of the window.
   *
   * @param skip - The number of bytes to leave out at the start of the first entry.
   * @param most - The offset of the log up to which entries are joined; at least one entry is.
   */
  #join(
    start: number,
    end: number,
    skip: number,
    most: number,
  ): { readonly page: Page; readonly count: number } {
    const entries: EventsEntry[] = []
    for (let index = start; index < end; index++) {
      const entry = this.#window[index]
      if (entry === undefined) break
      const isOver = (this.#offsets[index] ?? 0) + entry.bytes.length > most
      if (isOver && entries.length > 0) break
      entries.push(entry)
    }
    return { page: joined(entries, skip), count: entries.length }
  }

  /** The index of the first entry of the window that ends after a position. */
  #indexAfter(after: Position): number {
    let low = 0
    let high = this.#window.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const entry = this.#window[middle]
      if (entry && comparePositions(positionOf(entry), after) <= 0) low = middle + 1
      else high = middle
    }
    return low
  }

  async #load(after: Position): Promise<Loaded> {
    const from = { epoch: after.epoch, seq: after.seq + 1 }
    const entries = await this.#access.call(() => this.#store.read(this.#name, from, pageSize))
    const [first] = entries
    const newest = entries.at(-1)
    if (newest && this.#sent && comparePositions(positionOf(newest), this.#sent) > 0) {
      // The store has more than this process knows. A reader of this page would get the events again as the latest ones.
      await this.sync()
      this.flush()
    }
    if (first === undefined) return { state: 'gap', resume: this.#sent ?? after }
    if (!continues(first, after)) return { state: 'gap', resume: beginningOf(first) }
    const events: EventsEntry[] = []
    let end = after
    for (const entry of entries) {
      if (!continues(entry, end)) break
      end = positionOf(entry)
      if (entry.kind === 'events') events.push(entry)
    }
    const skip = first.kind === 'events' ? passedBytes(first, after) : 0
    const page = { bytes: joined(events, skip).bytes, end }
    this.#keep(after, page)
    return { state: 'page', page }
  }

  #keep(after: Position, page: Page): void {
    this.#pages.set(keyOf(after), page)
    if (this.#pages.size <= mostPages) return
    for (const oldest of this.#pages.keys()) {
      this.#pages.delete(oldest)
      break
    }
  }
}

/** @param skip - The number of bytes to leave out at the start of the first entry. */
function joined(entries: readonly EventsEntry[], skip: number): Page {
  const [first] = entries
  if (first && entries.length === 1)
    return { bytes: skip === 0 ? first.bytes : first.bytes.subarray(skip), end: positionOf(first) }
  const parts = entries.map(({ bytes }, index) => (index === 0 ? bytes.subarray(skip) : bytes))
  const last = entries.at(-1)
  return {
    bytes: Buffer.concat(parts),
    end: last ? positionOf(last) : { epoch: 0, seq: 0 },
  }
}

/** The number of bytes at the start of an entry that hold the events up to a position. */
function passedBytes(entry: EventsEntry, after: Position): number {
  const events = entry.epoch === after.epoch ? after.seq - entry.first + 1 : 0
  let start = 0
  // The hub writes each event with one blank line, which is its end.
  for (let passed = 0; passed < events; passed++) start = entry.bytes.indexOf('\n\n', start) + 2
  return start
}

function keyOf({ epoch, seq }: Position): string {
  return `${epoch}-${seq}`
}
