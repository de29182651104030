import { createParser, type EventSourceParser } from 'eventsource-parser'
import type { SseEvent } from './event.ts'

/** Receives the contents of blocks, in the order of the wire. */
export interface ReaderCallbacks {
  /** Called for a block with data, and for a block with an id alone. */
  onEvent(event: SseEvent): void
  onComment(text: string): void
  /** Called for a `retry:` field whose value is digits. A long value becomes Infinity. */
  onRetry(milliseconds: number): void
}

/** Parses the blocks of one connection. */
export class BlockReader {
  /** Created with the first blocks that are read: most streams pass most blocks on unread. */
  #parser: EventSourceParser | undefined
  readonly #callbacks: ReaderCallbacks
  /** The id of the latest finished block, until it is known whether that block has data. */
  #pendingId: string | undefined
  #ended = false

  constructor(callbacks: ReaderCallbacks) {
    this.#callbacks = callbacks
  }

  /**
   * Reads whole blocks.
   *
   * @throws The error of a callback. The reader must then no longer be used.
   */
  read(blocks: Buffer): void {
    this.#feed(blocks)
    this.#flushId()
  }

  /**
   * Reads the unfinished block at a drop. Only its `retry:` lines are reported: a `retry:` field takes effect when its line
   * is read, not when its block ends (HTML, 9.2.6).
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
      onEvent: (event) => {
        // The parser calls onId before onEvent. Without an id here, the pending id is that of an earlier block.
        if (event.id === undefined) this.#flushId()
        else this.#pendingId = undefined
        callbacks.onEvent(event)
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
    // The scanner has dropped the byte order mark, and a second mark is data: after a blank line the parser strips no mark.
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
