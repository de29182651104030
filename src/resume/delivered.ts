import type { CheckedOptions } from '../reconnect/options.ts'
import type { SseEvent } from '../wire/event.ts'
import { EventReader } from '../wire/reader.ts'
import { type Skimmed, skim } from '../wire/skim.ts'
import { UnreadBlocks } from './unread.ts'

/** An id in more than this is not left there, as it would keep all of it alive. */
const mostHeld = 4096

/** What a source has passed on: through its tracker what and up to where, and how much; some of it unread as yet. */
export class PassedOn {
  readonly #options: CheckedOptions
  /** Blocks of which a repeat could not be told as yet; there where repeats are dropped, and blocks may pass unread. */
  readonly #unread: UnreadBlocks | undefined
  /** Whether nobody has to know what blocks say. */
  #mayPass: boolean
  /** Unread blocks with the last id, and where that stands in them. */
  #idBlocks: Buffer | undefined
  #idStart = 0
  #idEnd = 0
  #events = 0
  #fresh = false

  constructor(options: CheckedOptions) {
    const { dedupe, windowBytes } = options
    this.#options = options
    this.#mayPass = windowBytes > 0
    if (dedupe && windowBytes > 0) this.#unread = new UnreadBlocks(windowBytes)
  }

  get lastEventId(): string {
    this.#readId()
    return this.#options.tracker.lastEventId
  }

  /** How many events. */
  get events(): number {
    return this.#events
  }

  /** Whether the live connection has brought a fresh event. */
  get fresh(): boolean {
    return this.#fresh
  }

  /** A connection is open, and the tracker knows. */
  opened(): void {
    this.#fresh = false
    this.#look()
  }

  /** The connection is over: the next one has to know where to resume, and what would be a repeat. */
  ended(): void {
    this.#readUnread()
  }

  /** Nobody looks for repeats any more. */
  destroyed(): void {
    this.#unread?.take()
  }

  /** What is known of blocks that may be passed on as they are, since nobody has to know what they say. */
  skim(blocks: Buffer): Skimmed | undefined {
    return this.#mayPass ? skim(blocks) : undefined
  }

  /** Notes whole blocks that are passed on unread. */
  noteUnread(blocks: Buffer, { events, idStart, idEnd }: Skimmed): void {
    if (idStart > 0) {
      this.#idBlocks = blocks
      this.#idStart = idStart
      this.#idEnd = idEnd
      if (blocks.length > mostHeld) this.#readId()
    }
    // Of comments nobody asks whether they are repeats.
    if (idStart > 0 || events > 0) this.#unread?.add(blocks)
    this.#count(events)
  }

  /** Notes an event that is passed on, unless it is a repeat that is dropped; whether it is fresh. */
  note(event: SseEvent): boolean {
    const { tracker, dedupe, cursor } = this.#options
    this.#readUnread()
    const dispatched = event.data !== undefined
    const fresh = dedupe ? tracker.accept(event) : !tracker.isDuplicate(event)
    if (fresh) tracker.advance(event, dispatched ? cursor?.(event) : undefined)
    if (dispatched && fresh) this.#count(1)
    else if (dispatched && !dedupe) this.#events++
    this.#look()
    return fresh
  }

  /** Whether repeats are looked for is up to the tracker, and changes with each event that it hears of. */
  #look(): void {
    const { tracker, dedupe, windowBytes } = this.#options
    this.#mayPass = windowBytes > 0 && !(dedupe && tracker.looksUp)
  }

  /** Counts fresh events. */
  #count(events: number): void {
    this.#events += events
    if (events > 0) this.#fresh = true
  }

  #readId(): void {
    if (this.#idBlocks === undefined) return
    this.#options.tracker.advance({ id: this.#idBlocks.toString('utf8', this.#idStart, this.#idEnd) })
    this.#idBlocks = undefined
  }

  /** Somebody has to know after all. */
  #readUnread(): void {
    this.#readId()
    const unread = this.#unread
    if (unread === undefined || unread.isEmpty) return
    const { tracker, maxEventSize } = this.#options
    if (unread.haveGone()) tracker.skipped()
    const reader = new EventReader(maxEventSize, {
      onEvent: (event) => tracker.accept(event),
      onComment: () => {},
      onRetry: () => {},
    })
    for (const piece of unread.take()) reader.readBlocks(piece)
  }
}
