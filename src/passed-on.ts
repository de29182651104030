import type { SseEvent } from './event.ts'
import type { CheckedOptions } from './options.ts'
import { EventReader } from './reader.ts'
import { UnreadBlocks } from './unread.ts'

const NUL = 0
const CR = 13
const retryLine = Buffer.from('\nretry')

/** What a source has passed on: through its tracker what and up to where, and how much; some of it unread as yet. */
export class PassedOn {
  readonly #options: CheckedOptions
  /** There where blocks may be passed on unread. */
  readonly #unread: UnreadBlocks | undefined
  #events = 0
  #any = false
  #fresh = false

  constructor(options: CheckedOptions) {
    this.#options = options
    if (options.windowBytes > 0) this.#unread = new UnreadBlocks(options.windowBytes)
  }

  get lastEventId(): string {
    this.#readUnread()
    return this.#options.tracker.lastEventId
  }

  /** How many events. */
  get events(): number {
    this.#readUnread()
    return this.#events
  }

  /** Whether there was an event. */
  get any(): boolean {
    this.#readUnread()
    return this.#any
  }

  /** Whether the live connection has brought a fresh event. */
  get fresh(): boolean {
    this.#readUnread()
    return this.#fresh
  }

  opened(): void {
    this.#fresh = false
  }

  /** The connection is over: the next one has to know where to resume, and what would be a repeat. */
  ended(): void {
    this.#readUnread()
  }

  /** Nobody looks for repeats any more. */
  destroyed(): void {
    this.#unread?.clear()
  }

  /** Whether blocks may be passed on as they are, since nobody has to know what they say. */
  mayPass(blocks: Buffer): boolean {
    const { tracker, dedupe } = this.#options
    return this.#unread !== undefined && !(dedupe && tracker.looksUp) && isPlain(blocks)
  }

  /** Notes whole blocks that are passed on unread. */
  noteUnread(blocks: Buffer): void {
    this.#unread?.add(blocks)
  }

  /** Notes an event that is passed on, unless it is a repeat that is dropped; whether it is fresh. */
  note(event: SseEvent): boolean {
    this.#readUnread()
    return this.#track(event)
  }

  #track(event: SseEvent): boolean {
    const { tracker, dedupe, cursor } = this.#options
    const dispatched = event.data !== undefined
    const fresh = dedupe ? tracker.accept(event) : !tracker.isDuplicate(event)
    if (fresh) tracker.advance(event, dispatched ? cursor?.(event) : undefined)
    if (fresh && dispatched) this.#fresh = true
    if (dispatched && (fresh || !dedupe)) this.#count(1)
    return fresh
  }

  #count(events: number): void {
    this.#events += events
    if (events > 0) this.#any = true
  }

  /** Somebody has to know after all. */
  #readUnread(): void {
    const unread = this.#unread
    if (unread === undefined || unread.isEmpty) return
    const { tracker, maxEventSize } = this.#options
    const pieces = unread.take()
    const { events, id } = unread.skimmed()
    if (events > 0) {
      this.#fresh = true
      tracker.skipped()
    }
    this.#count(events)
    tracker.advance({ id })
    const reader = new EventReader(maxEventSize, {
      onEvent: (event) => this.#track(event),
      onComment: () => {},
      onRetry: () => {},
    })
    for (const piece of pieces) reader.readBlocks(piece)
  }
}

/**
 * Whether blocks mean the same to our clients as to us, and can be skimmed: lines end with LF, no id is to be ignored, and no
 * reconnection time is meant for us. A byte order mark that is left is the second one, and would be our clients' first.
 */
function isPlain(blocks: Buffer): boolean {
  return (
    !blocks.includes(CR) &&
    !blocks.includes(NUL) &&
    !blocks.includes(retryLine) &&
    !(blocks[0] === 0x72 && blocks.toString('latin1', 0, 5) === 'retry') &&
    !(blocks[0] === 0xef && blocks[1] === 0xbb && blocks[2] === 0xbf)
  )
}
