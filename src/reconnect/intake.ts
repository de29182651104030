import { SseError } from '../errors.ts'
import type { Delivered } from '../resume/delivered.ts'
import { BlockScanner } from '../wire/blocks.ts'
import { type SseEvent, serializeComment, serializeEvent } from '../wire/event.ts'
import { BlockReader } from '../wire/reader.ts'
import type { CheckedOptions } from './options.ts'
import type { Sink } from './sink.ts'

/** What an intake tells the stream that it belongs to. */
export interface IntakeOwner {
  /** The stream is over: nothing is passed on any more, not even the rest of a chunk. */
  readonly isOver: boolean
  /** The sink has no room for more. */
  onFull(): void
  onTerminal(): void
  onDuplicate(event: SseEvent): void
  /** An event was read or counted that is no repeat. */
  onEvents(): void
  /** @param milliseconds - Of the upstream's `retry:` field. */
  onReconnectionTime(milliseconds: number): void
}

/** What becomes of the bytes of one connection. */
export interface Intake {
  /** Nothing of a block is out whose end is still to come. */
  readonly isBetweenBlocks: boolean
  take(chunk: Buffer): void
  /** No byte of the connection follows. */
  end(): void
}

type IntakeOptions = Pick<
  CheckedOptions,
  'objectMode' | 'comments' | 'dedupe' | 'isTerminal' | 'maxEventSize'
>

/** Passes on whole blocks: as they came where nobody asks what the events are, and otherwise read and written anew. */
export class BlockIntake implements Intake {
  readonly isBetweenBlocks = true
  readonly #options: IntakeOptions
  readonly #delivered: Delivered
  readonly #sink: Sink
  readonly #owner: IntakeOwner
  readonly #scanner: BlockScanner
  /** There once there is something to read: most streams pass most blocks on unread. */
  #reader: BlockReader | undefined
  /** What was read of the present run, in wire form; empty in object mode. */
  #out = ''
  #isTaking = false
  /** Chunks that came while one was being taken: a function of the caller's may make its upstream say more. */
  readonly #waiting: Buffer[] = []

  constructor(options: IntakeOptions, delivered: Delivered, sink: Sink, owner: IntakeOwner) {
    this.#options = options
    this.#delivered = delivered
    this.#sink = sink
    this.#owner = owner
    this.#scanner = new BlockScanner(options.maxEventSize)
  }

  take(chunk: Buffer): void {
    if (this.#isTaking) {
      this.#waiting.push(chunk)
      return
    }
    this.#isTaking = true
    let next: Buffer | undefined = chunk
    while (next !== undefined) {
      this.#scanner.push(next)
      for (let run = this.#scanner.next(); run !== undefined; run = this.#scanner.next()) this.#pass(run)
      if (this.#scanner.tooLarge) throw tooLargeError(this.#options.maxEventSize)
      next = this.#waiting.shift()
    }
    this.#isTaking = false
  }

  /**
   * The block that is not whole is forgotten, but for the `retry:` lines in it, which the standard obeys as soon as they
   * are read (HTML, 9.2.6).
   */
  end(): void {
    const rest = this.#scanner.rest()
    if (rest.length > 0) this.#blockReader.readRest(rest)
  }

  #pass(run: Buffer): void {
    if (this.#owner.isOver) return
    if (this.#scanner.mustRead || this.#delivered.mustRead || this.#sink.readsComments) {
      this.#blockReader.read(run)
      this.#flush()
      return
    }
    this.#delivered.blocks(run, this.#scanner)
    if (this.#scanner.events > 0) this.#owner.onEvents()
    if (!this.#sink.blocks(run)) this.#owner.onFull()
  }

  get #blockReader(): BlockReader {
    this.#reader ??= new BlockReader({
      onEvent: (event) => this.#onEvent(event),
      onComment: (text) => this.#onComment(text),
      onRetry: (milliseconds) => this.#owner.onReconnectionTime(milliseconds),
    })
    return this.#reader
  }

  #onEvent(event: SseEvent): void {
    if (this.#owner.isOver) return
    const { isTerminal, dedupe, objectMode } = this.#options
    // A block with an id alone is no event: the caller's function is not asked about it, and it ends no silence.
    const isEvent = event.data !== undefined
    const isTheLast = isEvent && isTerminal?.(event) === true
    const isFresh = this.#delivered.event(event)
    if (isFresh || !dedupe) {
      if (isFresh && isEvent) this.#owner.onEvents()
      if (objectMode) this.#passEvent(event)
      else this.#out += serializeEvent(event)
    } else {
      this.#owner.onDuplicate(event)
    }
    if (!isTheLast) return
    this.#flush()
    this.#owner.onTerminal()
  }

  #passEvent(event: SseEvent): void {
    const { lastEventId } = this.#delivered.position
    if (!this.#sink.event({ ...event, lastEventId })) this.#owner.onFull()
  }

  #onComment(text: string): void {
    if (this.#owner.isOver) return
    const { comments, objectMode } = this.#options
    this.#sink.comment?.(text)
    if (comments && !objectMode) this.#out += serializeComment(text)
  }

  #flush(): void {
    const out = this.#out
    this.#out = ''
    if (out !== '' && !this.#owner.isOver && !this.#sink.blocks(Buffer.from(out))) this.#owner.onFull()
  }
}

/** Passes every byte on as it came, for a request that is sent once: what answers it belongs to its client. */
export class VerbatimIntake implements Intake {
  readonly #options: IntakeOptions
  readonly #delivered: Delivered
  readonly #sink: Sink
  readonly #owner: IntakeOwner
  readonly #scanner: BlockScanner
  readonly #reader: BlockReader

  constructor(options: IntakeOptions, delivered: Delivered, sink: Sink, owner: IntakeOwner) {
    this.#options = options
    this.#delivered = delivered
    this.#sink = sink
    this.#owner = owner
    this.#scanner = new BlockScanner(options.maxEventSize)
    this.#reader = new BlockReader({
      onEvent: (event) => this.#onEvent(event),
      onComment: () => {},
      onRetry: () => {},
    })
  }

  get isBetweenBlocks(): boolean {
    return this.#scanner.isBetweenBlocks
  }

  take(chunk: Buffer): void {
    if (!this.#sink.blocks(chunk)) this.#owner.onFull()
    this.#scanner.push(chunk)
    for (let run = this.#scanner.next(); run !== undefined; run = this.#scanner.next()) {
      if (this.#options.isTerminal || this.#scanner.mustRead) this.#reader.read(run)
      else {
        this.#delivered.blocks(run, this.#scanner)
        if (this.#scanner.events > 0) this.#owner.onEvents()
      }
    }
    if (this.#scanner.tooLarge) throw tooLargeError(this.#options.maxEventSize)
  }

  end(): void {}

  #onEvent(event: SseEvent): void {
    const isFresh = this.#delivered.event(event)
    if (event.data === undefined) return
    if (isFresh) this.#owner.onEvents()
    if (this.#options.isTerminal?.(event)) this.#owner.onTerminal()
  }
}

function tooLargeError(limit: number): SseError {
  return new SseError('ERR_SSE_EVENT_TOO_LARGE', `the upstream sent an event of more than ${limit} bytes`)
}
