import { createParser, type EventSourceParser } from 'eventsource-parser'
import { SseError } from '../errors.ts'
import { BlockScanner } from './blocks.ts'
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
   * Reads whole blocks, as a {@link BlockScanner} returns them.
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

/** Reads the events of one connection from its bytes, whatever the chunks they come in. */
export class EventReader {
  readonly #maxEventSize: number
  readonly #scanner: BlockScanner
  readonly #reader: BlockReader

  /** @param maxEventSize - The most bytes of one block on the wire. */
  constructor(maxEventSize: number, callbacks: ReaderCallbacks) {
    this.#maxEventSize = maxEventSize
    this.#scanner = new BlockScanner(maxEventSize)
    this.#reader = new BlockReader(callbacks)
  }

  /**
   * @param take - Called with runs of blocks that are whole by now; with true they are not read.
   * @throws {@link SseError} `ERR_SSE_EVENT_TOO_LARGE`, after the events in front of the large one; and whatever a
   * callback throws. The reader is of no use then.
   */
  read(chunk: Buffer, take?: (blocks: Buffer) => boolean): void {
    const scanner = this.#scanner
    scanner.push(chunk)
    for (let run = scanner.next(); run !== undefined; run = scanner.next()) {
      if (!take?.(run)) this.#reader.read(run)
    }
    if (!scanner.tooLarge) return
    throw new SseError(
      'ERR_SSE_EVENT_TOO_LARGE',
      `the upstream sent an event of more than ${this.#maxEventSize} bytes`,
    )
  }

  /** Reads whole blocks, as {@link read} has handed them to `take`. */
  readBlocks(blocks: Buffer): void {
    this.#reader.read(blocks)
  }

  /** Says that no byte follows: see {@link BlockReader.readRest}. */
  end(): void {
    this.#reader.readRest(this.#scanner.rest())
  }
}
