import { createParser, type EventSourceParser } from 'eventsource-parser'
import type { SseEvent } from './event.ts'

/** What a reader finds, in the order of the wire. */
export interface ReaderCallbacks {
  /** A block with data, or with an id alone. */
  onEvent(event: SseEvent): void
  onComment(text: string): void
  /** A `retry:` field: digits only; may be as large as Infinity. */
  onRetry(milliseconds: number): void
}

/** Reads the blocks of one connection. */
export class BlockReader {
  /** Created with the first blocks: most streams pass on most blocks unread. */
  #parser: EventSourceParser | undefined
  readonly #callbacks: ReaderCallbacks
  /** The id of a block that has ended, until it is known whether the block had data. */
  #pendingId: string | undefined
  #ended = false

  constructor(callbacks: ReaderCallbacks) {
    this.#callbacks = callbacks
  }

  /**
   * Reads whole blocks, as a scanner returns them.
   *
   * @throws Whatever a callback throws. The reader is of no further use then.
   */
  read(blocks: Buffer): void {
    this.#feed(blocks)
    this.#flushId()
  }

  /**
   * Reads the half-received block that a drop leaves. It is forgotten, but for the `retry:` lines in it, which the
   * standard obeys as soon as they are read (HTML, 9.2.6).
   */
  readRest(bytes: Buffer): void {
    this.#ended = true
    if (bytes.length > 0) this.#feed(bytes)
  }

  #feed(bytes: Buffer): void {
    this.#parser ??= this.#createParser()
    this.#parser.feed(bytes.toString('utf8'))
  }

  #createParser(): EventSourceParser {
    const callbacks = this.#callbacks
    const parser = createParser({
      onId: (id) => {
        this.#flushId()
        this.#pendingId = id
      },
      onEvent: ({ id, event, data }) => {
        // An event with an id has just announced it; without one, the id is that of a block before.
        if (id === undefined) this.#flushId()
        else this.#pendingId = undefined
        callbacks.onEvent({ id, event, data })
      },
      onComment: (text) => {
        this.#flushId()
        if (!this.#ended) callbacks.onComment(text)
      },
      onRetry: (milliseconds) => {
        this.#flushId()
        callbacks.onRetry(milliseconds)
      },
    })
    // The scanner has dropped the byte order mark; behind a blank line the parser does not look for another.
    parser.feed('\n')
    return parser
  }

  #flushId(): void {
    const id = this.#pendingId
    if (id === undefined) return
    this.#pendingId = undefined
    this.#callbacks.onEvent({ id })
  }
}
