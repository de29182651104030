import { keptCopy } from './kept-bytes.ts'
import { LogWindow } from './log-window.ts'
import { joinedBytes, type Page, pageSize, passedBytes } from './page.ts'
import { type Loaded, type PageReader, PageTurns } from './page-turns.ts'
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

/** Bytes that live readers have not had, from which on the owner waits for the next turn. */
const mostUnsent = 1024 * 1024

/**
 * The most pages that a live reader gets before the next reader does. The second of two writes to one socket costs half as much as
 * in a round of its own, after those to 500 others: a read of 64 KiB with small events makes two pages.
 */
const pagesAtOnce = 4

const nothing = Buffer.alloc(0)

/** The most pages that are kept for readers that want the same page: readers take turns, and are rarely more than a page apart. */
const mostPages = 3

/** A reader that has had every event so far. */
export interface LiveReader {
  /**
   * Receives the latest events. The buffer is shared by all readers. A reader that cannot take the events leaves.
   *
   * @param end - The position after the last event. A reader that has had the events ignores the call.
   * @param gap - Whether events of the upstream may be missing before these.
   */
  onBytes(bytes: Buffer, end: Position, gap: boolean | undefined): void
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

/**
 * The log of one stream, as this process knows it. The latest events are kept in memory. Readers that are behind read pages of
 * them, or load pages from the store; all other readers get the events as they arrive.
 */
export class Log {
  readonly #store: StreamStore
  readonly #access: StoreAccess
  readonly #name: string
  readonly turns: PageTurns
  readonly #window: LogWindow
  #tail: Entry | undefined
  /** The position up to which live readers have had the events; undefined while the log is empty. */
  #sent: Position | undefined
  #cursor: string | undefined
  readonly #live = new Set<LiveReader>()
  #behind = 0
  #immediate: NodeJS.Immediate | undefined
  #isFlushing = false
  /** Pages of the window, by the position before the page; the oldest are dropped. Undefined without any: few streams need them. */
  #pages: Map<string, Page> | undefined
  #sync: Promise<void> | undefined
  #isDirty = false
  /** The store has an entry at this position; undefined when no newer one than the latest known one is expected. */
  #latest: Position | undefined

  /** @param turns - Who of all readers of a hub may load a page. */
  constructor(
    store: StreamStore,
    access: StoreAccess,
    name: string,
    windowBytes: number,
    turns: PageTurns = new PageTurns(),
  ) {
    this.turns = turns
    this.#store = store
    this.#access = access
    this.#name = name
    this.#window = new LogWindow(windowBytes)
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

  /** Whether an entry is newer than the latest known one. */
  lacks(position: Position): boolean {
    return this.#tail === undefined || comparePositions(positionOf(this.#tail), position) < 0
  }

  /**
   * Reads what the store has after the latest known entry. Calls that overlap are one.
   *
   * @param latest - The store has an entry at this position: nothing is read beyond. Undefined: everything is read.
   */
  sync(latest?: Position): Promise<void> {
    if (latest === undefined) this.#isDirty = true
    else if (this.#latest === undefined || comparePositions(this.#latest, latest) < 0) this.#latest = latest
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
      this.#window.add(entry)
      this.#cursor = entry.cursor
    }
    this.#immediate ??= setImmediate(flushLog, this)
  }

  /**
   * The entries after a position, for a store that has lost them.
   *
   * @returns Undefined when they are no longer all in memory.
   */
  entriesAfter(after: Position): readonly EventsEntry[] | undefined {
    return this.#window.reaches(after) ? this.#window.entriesAfter(after) : undefined
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
    if (!this.#window.reaches(after)) return { state: 'away' }
    return { state: 'page', page: this.#pages?.get(keyOf(after)) ?? this.#pageOfWindow(after, sent) }
  }

  /** Asks for the page after a position, which is loaded when its turn has come. */
  request(after: Position, reader: PageReader): void {
    this.turns.take(reader, `${keyOf(after)} ${this.#name}`, () => this.load(after))
  }

  /**
   * Resolves when the live readers have had the latest events; undefined when few bytes wait. Without this wait an upstream in the
   * same process, whose events are always there at once, would leave no turn of the event loop for the clients.
   */
  get room(): Promise<void> | undefined {
    if (this.#window.unsentBytes < mostUnsent) return undefined
    return new Promise((resolve) => setImmediate(resolve))
  }

  /** Drops the pages that were kept for readers that are behind. */
  dropPages(): void {
    this.#pages = undefined
  }

  close(): void {
    clearImmediate(this.#immediate)
    this.#live.clear()
    this.dropPages()
  }

  async #readOn(): Promise<void> {
    try {
      while (this.#isDirty || (this.#latest && this.lacks(this.#latest))) {
        const isOpenEnded = this.#isDirty
        const latest = this.#latest
        this.#isDirty = false
        const tail = this.#tail && positionOf(this.#tail)
        const from = tail ? { epoch: tail.epoch, seq: tail.seq + 1 } : 'last'
        const entries = await this.#access.call(() => this.#store.read(this.#name, from, pageSize))
        for (const entry of entries) this.accept(inOwnMemory(entry))
        // The store has lost the entry. One that was announced during the read is read next.
        if (entries.length === 0 && this.#latest === latest) this.#latest = undefined
        if (isOpenEnded && entries.length > 0 && from !== 'last') this.#isDirty = true
      }
      this.#latest = undefined
    } finally {
      // In the turn of the last check: a call that came between them would read nothing.
      this.#sync = undefined
    }
  }

  /** Starts the window at an entry that does not follow the latest one. */
  #startWindow(entry: Entry): void {
    this.flush()
    const before = this.#sent
    this.#sent = beginningOf(entry)
    this.#window.restart(this.#sent)
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
    while (this.#window.hasUnsent) {
      const pages = this.#takeUnsent()
      // A reader may call code that reads, closes or starts other readers: the set changes meanwhile.
      for (const reader of this.#live) {
        for (const { bytes, end, gap } of pages) reader.onBytes(bytes, end, gap)
      }
    }
    const last = this.#tail && positionOf(this.#tail)
    // The readers keep the position of the last page. A second object for it would take 72 bytes of each quiet stream.
    if (last && (!this.#sent || comparePositions(last, this.#sent) !== 0)) this.#sent = last
    this.#window.shrink()
    const { end } = this
    if (end) for (const reader of this.#live) reader.onLogEnd(end)
  }

  /** The oldest pages that live readers have not had. */
  #takeUnsent(): Page[] {
    const pages: Page[] = []
    while (this.#window.hasUnsent && pages.length < pagesAtOnce) {
      const page = this.#window.takePage()
      this.#sent = page.end
      pages.push(page)
    }
    return pages
  }

  /** The page after a position that the window has. */
  #pageOfWindow(after: Position, sent: Position): Page {
    const { page, isJoined } = this.#window.pageAfter(after) ?? {}
    if (page === undefined) return { bytes: nothing, end: sent }
    if (isJoined) this.#keep(after, page)
    return page
  }

  /**
   * Loads the page after a position from the store.
   *
   * @throws {@link SseError} `ERR_SSE_STORE`
   */
  async load(after: Position): Promise<Loaded> {
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
      const isAfterGap = entry.kind === 'events' && entry.gap
      if (!continues(entry, end) || (isAfterGap && events.length > 0)) break
      end = positionOf(entry)
      if (entry.kind === 'events') events.push(entry)
    }
    const skip = first.kind === 'events' ? passedBytes(first, after) : 0
    const gap = skip === 0 && events[0]?.gap === true
    return { state: 'page', page: { bytes: joinedBytes(events, skip), end, gap } }
  }

  #keep(after: Position, page: Page): void {
    this.#pages ??= new Map()
    this.#pages.set(keyOf(after), page)
    if (this.#pages.size <= mostPages) return
    for (const oldest of this.#pages.keys()) {
      this.#pages.delete(oldest)
      break
    }
  }
}

function flushLog(log: Log): void {
  log.flush()
}

/** An entry to be kept: not as a small part of a large buffer, such as the answers of a store to many reads at once. */
function inOwnMemory(entry: Entry): Entry {
  if (entry.kind !== 'events' || entry.bytes.buffer.byteLength <= 2 * entry.bytes.length) return entry
  return { ...entry, bytes: keptCopy(entry.bytes) }
}

function keyOf({ epoch, seq }: Position): string {
  return `${epoch}-${seq}`
}
