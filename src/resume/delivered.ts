import { encodeLastEventId } from '../http/fields.ts'
import type { SseEvent } from '../wire/event.ts'
import { BlockReader } from '../wire/reader.ts'
import { RecentBlocks } from './recent-blocks.ts'
import type { EventTracker } from './tracker.ts'

/** An id within more bytes than this is copied at once, since a view would keep all of them in memory. */
const mostHeldForId = 4096

export interface DeliveredOptions {
  readonly tracker: EventTracker
  readonly dedupe: boolean
  readonly cursor: ((event: SseEvent) => string | undefined) | undefined
  /** Bytes of recent blocks kept to detect repeats after a reconnect; 0 when every event is read. */
  readonly windowBytes: number
}

/** Where a stream can be resumed. */
export interface Position {
  /** `''` when there is none. */
  readonly lastEventId: string
  /** `undefined` when unknown. */
  readonly cursor: string | undefined
  /** The value of a `Last-Event-ID` field; undefined when there is no id, or a field cannot carry it unchanged. */
  readonly header: string | undefined
  /** Whether a request can say where to resume. */
  readonly isSendable: boolean
}

/** What the scanner knows of blocks without reading them. */
export interface Scan {
  /** How many of the blocks have data. */
  readonly events: number
  /** Where the value of the last id field stands in the blocks; -1 without an id. */
  readonly idStart: number
  readonly idEnd: number
}

/**
 * What a stream has passed on: how much, up to which position, and what would be a repeat of it.
 *
 * Blocks may be passed on without being read. Whoever asks then gets the answer that reading them would have given: each
 * question reads first what it needs, so no answer is ever stale. Nothing else touches the tracker.
 */
export class Delivered {
  readonly #tracker: EventTracker
  readonly #dedupe: boolean
  readonly #cursor: DeliveredOptions['cursor']
  readonly #keepsBlocks: boolean
  readonly #recent: RecentBlocks | undefined
  readonly #reader = new BlockReader({
    onEvent: (event) => this.#tracker.accept(event),
    onComment: () => {},
    onRetry: () => {},
  })
  /** Blocks with an id that is not read yet, and where the id stands in them. */
  #idBlocks: Buffer | undefined
  #idStart = 0
  #idEnd = 0
  #events = 0
  #isFresh = false

  constructor({ tracker, dedupe, cursor, windowBytes }: DeliveredOptions) {
    this.#tracker = tracker
    this.#dedupe = dedupe
    this.#cursor = cursor
    this.#keepsBlocks = windowBytes > 0
    if (dedupe && windowBytes > 0) this.#recent = new RecentBlocks(windowBytes)
  }

  /** How many events were passed on. */
  get events(): number {
    return this.#events
  }

  /** Whether the live connection has brought a fresh event. */
  get isFresh(): boolean {
    return this.#isFresh
  }

  get position(): Position {
    this.#readId()
    const { lastEventId, cursor } = this.#tracker
    const header = encodeLastEventId(lastEventId)
    return {
      lastEventId,
      cursor,
      header,
      isSendable: (this.#cursor === undefined ? header : cursor) !== undefined,
    }
  }

  /** Whether blocks have to be read: every event is looked at, or a repeat may be among them. */
  get mustRead(): boolean {
    return !this.#keepsBlocks || (this.#dedupe && this.#tracker.looksUp)
  }

  /** A connection is open: repeats of what was passed on before may come. */
  opened(): void {
    this.#readRecent()
    this.#isFresh = false
    this.#tracker.opened()
  }

  /** Blocks are passed on unread. */
  blocks(blocks: Buffer, { events, idStart, idEnd }: Scan): void {
    if (idStart >= 0) {
      this.#idBlocks = blocks
      this.#idStart = idStart
      this.#idEnd = idEnd
      if (blocks.length > mostHeldForId) this.#readId()
    }
    // Of blocks that hold only comments nobody asks whether they are repeats.
    if (idStart >= 0 || events > 0) this.#recent?.add(blocks)
    this.#count(events)
  }

  /** An event was read. @returns Whether it is fresh; a repeat is passed on only where repeats are not dropped. */
  event(event: SseEvent): boolean {
    this.#readRecent()
    const hasData = event.data !== undefined
    const fresh = this.#dedupe ? this.#tracker.accept(event) : !this.#tracker.isDuplicate(event)
    // A block with an id alone is no event, so the caller's function is not asked about it.
    if (fresh) this.#tracker.advance(event, hasData ? this.#cursor?.(event) : undefined)
    if (hasData && fresh) this.#count(1)
    else if (hasData && !this.#dedupe) this.#events++
    return fresh
  }

  /** Nothing follows: what was kept to detect repeats is discarded. */
  close(): void {
    this.#recent?.take()
  }

  /** Counts fresh events. */
  #count(events: number): void {
    this.#events += events
    if (events > 0) this.#isFresh = true
  }

  #readId(): void {
    if (this.#idBlocks === undefined) return
    this.#tracker.advance({ id: this.#idBlocks.toString('utf8', this.#idStart, this.#idEnd) })
    this.#idBlocks = undefined
  }

  #readRecent(): void {
    this.#readId()
    const recent = this.#recent
    if (recent === undefined || recent.isEmpty) return
    if (recent.hasDiscarded()) this.#tracker.skipped()
    for (const piece of recent.take()) this.#reader.read(piece)
  }
}
