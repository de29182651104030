import { encodeLastEventId } from '../http/fields.ts'
import type { SseEvent } from '../wire/event.ts'
import { BlockReader } from '../wire/reader.ts'
import { RecentBlocks } from './recent-blocks.ts'
import type { EventTracker } from './tracker.ts'

export interface DeliveredOptions {
  readonly tracker: EventTracker
  readonly dedupe: boolean
  readonly cursor: ((event: SseEvent) => string | undefined) | undefined
  /** Bytes of recent blocks kept to detect repeats after a reconnect; 0 when every event is read. */
  readonly windowBytes: number
}

/** Where a stream can be resumed. */
export interface Position {
  /** `''` without one. */
  readonly lastEventId: string
  /** `undefined` when unknown. */
  readonly cursor: string | undefined
  /** The value of a `Last-Event-ID` field; undefined without an id, or when a field cannot carry the id unchanged. */
  readonly header: string | undefined
  /** Whether a request can carry the cursor. */
  readonly isSendable: boolean
}

/** What the scanner finds in blocks without parsing them. */
export interface Scan {
  /** Blocks with data. */
  readonly events: number
  /** The offset of the last id field's value in the blocks; -1 without an id. */
  readonly idStart: number
  readonly idEnd: number
}

/**
 * What a stream has passed on: the number of events, the position to resume from, and the events that would be repeats.
 *
 * Blocks may be passed on unread. Each getter first reads the blocks that its result depends on, so a result is never
 * stale. While a stream runs, only this class uses its tracker, unless the caller shares the tracker with a dedupe Transform.
 */
export class Delivered {
  readonly #tracker: EventTracker
  readonly #dedupe: boolean
  readonly #cursor: DeliveredOptions['cursor']
  readonly #keepsBlocks: boolean
  readonly #recent: RecentBlocks | undefined
  /** The offsets of an unread id in the latest blocks; -1 without one. */
  #idStart = -1
  #idEnd = -1
  #events = 0
  #isFresh = false
  #repeats = 0

  constructor({ tracker, dedupe, cursor, windowBytes }: DeliveredOptions) {
    this.#tracker = tracker
    this.#dedupe = dedupe
    this.#cursor = cursor
    this.#keepsBlocks = windowBytes > 0
    if (dedupe && windowBytes > 0) this.#recent = new RecentBlocks(windowBytes)
  }

  /** The number of events that were passed on. */
  get events(): number {
    return this.#events
  }

  /** Whether the current connection has brought a fresh event. */
  get isFresh(): boolean {
    return this.#isFresh
  }

  /** The number of repeats that the current connection has brought; 0 once it has brought a fresh event. */
  get repeats(): number {
    return this.#isFresh ? 0 : this.#repeats
  }

  /** `''` without one. */
  get lastEventId(): string {
    this.#readId()
    return this.#tracker.lastEventId
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

  /** Whether blocks must be parsed: because an option requires it, or because repeats may be among them. */
  get mustRead(): boolean {
    return !this.#keepsBlocks || (this.#dedupe && this.#tracker.looksUp)
  }

  /** Called when a connection is open: repeats may follow. */
  opened(): void {
    this.#readRecent()
    this.#isFresh = false
    this.#repeats = 0
    this.#tracker.opened()
  }

  /** Called for blocks that are passed on unread. Copies what is kept of the blocks. */
  blocks(blocks: Buffer, { events, idStart, idEnd }: Scan): void {
    const hasId = idStart >= 0
    // Comments are never repeats, so blocks of comments alone are not kept.
    if (!hasId && events === 0) return
    // These blocks may overwrite an earlier id.
    if (!hasId) this.#readId()
    const isKept = this.#recent?.add(blocks) === true
    if (isKept && hasId) {
      this.#idStart = idStart
      this.#idEnd = idEnd
    } else if (hasId) {
      this.#idStart = -1
      this.#tracker.advance({ id: blocks.toString('utf8', idStart, idEnd) })
    }
    this.#count(events)
  }

  /**
   * Called for each parsed event.
   *
   * @returns Whether the event is fresh.
   */
  event(event: SseEvent): boolean {
    this.#readRecent()
    const hasData = event.data !== undefined
    const fresh = this.#dedupe ? this.#tracker.accept(event) : !this.#tracker.isDuplicate(event)
    // A block without data is not an event (HTML, 9.2.6), so `cursor` is not called with it.
    if (fresh) this.#tracker.advance(event, hasData ? this.#cursor?.(event) : undefined)
    if (!hasData) return fresh
    if (fresh) this.#count(1)
    else this.#repeats++
    if (!fresh && !this.#dedupe) this.#events++
    return fresh
  }

  /** Called at the end of the stream: discards the blocks that were kept to detect repeats. */
  close(): void {
    this.#readId()
    this.#recent?.clear()
  }

  /** Counts fresh events. */
  #count(events: number): void {
    this.#events += events
    if (events > 0) this.#isFresh = true
  }

  #readId(): void {
    if (this.#idStart < 0 || this.#recent === undefined) return
    this.#tracker.advance({ id: this.#recent.latest(this.#idStart, this.#idEnd) })
    this.#idStart = -1
  }

  #readRecent(): void {
    this.#readId()
    const recent = this.#recent
    if (recent === undefined || recent.isEmpty) return
    if (recent.hasDiscarded()) this.#tracker.skipped()
    const reader = new BlockReader({
      onEvent: (event) => this.#tracker.accept(event),
      onComment: () => {},
      onRetry: () => {},
    })
    reader.read(recent.take())
  }
}
