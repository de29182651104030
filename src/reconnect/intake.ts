import { SseError } from '../errors.ts'
import type { Delivered } from '../resume/delivered.ts'
import type { Connection, ConnectionReader, Drop } from '../upstream/connection.ts'
import { BlockScanner } from '../wire/blocks.ts'
import { type SseEvent, serializeComment, serializeEvent } from '../wire/event.ts'
import { BlockReader } from '../wire/reader.ts'
import type { History } from './history.ts'
import type { LastingOptions } from './options.ts'
import type { Sink } from './sink.ts'

/** The stream that an intake belongs to. */
export interface IntakeOwner {
  /** When the stream is over, the rest of a chunk is discarded too. */
  readonly isOver: boolean
  /** Called when the sink is full. */
  onFull(): void
  onTerminal(): void
  onDuplicate(event: SseEvent): void
  /** @param milliseconds - The value of the upstream's `retry:` field. */
  onReconnectionTime(milliseconds: number): void
  /** Called when the connection is lost. */
  onDrop(drop: Drop): void
  /** Called when a function of the caller has thrown, or for an error that every retry would repeat. */
  onFault(error: Error): void
}

/** The parts of a stream that an intake uses. */
export interface IntakeParts {
  readonly options: LastingOptions
  readonly delivered: Delivered
  readonly sink: Sink
  readonly history: History
  readonly owner: IntakeOwner
}

/** Reads one connection, and passes its bytes on to the sink. */
export abstract class Intake implements ConnectionReader {
  /** False while the sink has the beginning of a block without its end. */
  abstract readonly isBetweenBlocks: boolean
  protected readonly options: LastingOptions
  protected readonly delivered: Delivered
  protected readonly sink: Sink
  protected readonly owner: IntakeOwner
  protected readonly scanner: BlockScanner
  readonly #connection: Connection
  readonly #history: History
  /** Whether a chunk is being passed on. */
  #isTaking = false
  /** Copies of the chunks that arrived meanwhile; undefined when there were none. */
  #waiting: Buffer[] | undefined

  constructor(connection: Connection, { options, delivered, sink, history, owner }: IntakeParts) {
    this.#connection = connection
    this.options = options
    this.delivered = delivered
    this.sink = sink
    this.#history = history
    this.owner = owner
    this.scanner = new BlockScanner(options.maxEventSize)
  }

  protected abstract take(chunk: Buffer): void

  /** Called after the connection's last byte. */
  abstract end(): void

  /** Discards the chunks that were not passed on. */
  close(): void {
    this.#waiting = undefined
  }

  onChunk(chunk: Buffer): void {
    this.#history.bytes += chunk.length
    if (this.options.idleResetOn === 'bytes') this.#connection.touch()
    // A callback of the caller may make its own upstream push another chunk during this call.
    if (this.#isTaking) {
      this.#waiting ??= []
      this.#waiting.push(Buffer.from(chunk))
      return
    }
    this.#isTaking = true
    this.take(chunk)
    while (this.#waiting !== undefined) this.#takeWaiting()
    this.#isTaking = false
  }

  #takeWaiting(): void {
    const chunks = this.#waiting ?? []
    this.#waiting = undefined
    for (const chunk of chunks) if (!this.owner.isOver) this.take(chunk)
  }

  onDrop(drop: Drop): void {
    this.owner.onDrop(drop)
  }

  onFault(error: Error): void {
    this.owner.onFault(error)
  }

  /** Called for fresh events, read or counted. */
  protected onFreshEvents(): void {
    if (this.options.idleResetOn === 'events') this.#connection.touch()
  }

  /** Called when the scanner has no more whole blocks. */
  protected checkSize(): void {
    if (!this.scanner.tooLarge) return
    const limit = this.options.maxEventSize
    throw new SseError('ERR_SSE_EVENT_TOO_LARGE', `the upstream sent an event of more than ${limit} bytes`)
  }
}

/** Passes on whole blocks: unread and unchanged where no option needs their events, otherwise parsed and serialized. */
export class BlockIntake extends Intake {
  readonly isBetweenBlocks = true
  /** Created with the first block that must be read: most streams pass most blocks on unread. */
  #reader: BlockReader | undefined
  /** The serialized blocks of the current run; empty in object mode. */
  #out = ''

  protected take(chunk: Buffer): void {
    this.scanner.push(chunk)
    for (let run = this.scanner.next(); run !== undefined; run = this.scanner.next()) {
      if (this.owner.isOver) return
      if (this.scanner.mustRead || this.delivered.mustRead || this.sink.readsComments) {
        this.#blockReader.read(run)
        this.#flush()
      } else {
        this.delivered.blocks(run, this.scanner)
        if (!this.sink.blocks(run)) this.owner.onFull()
      }
    }
    this.checkSize()
  }

  /**
   * Discards the unfinished block, except for its `retry:` lines: a `retry:` field takes effect when its line is read,
   * not when its block ends (HTML, 9.2.6).
   */
  end(): void {
    const rest = this.scanner.rest()
    if (rest.length > 0) this.#blockReader.readRest(rest)
  }

  get #blockReader(): BlockReader {
    this.#reader ??= new BlockReader({
      onEvent: (event) => this.#onEvent(event),
      onComment: (text) => this.#onComment(text),
      onRetry: (milliseconds) => this.owner.onReconnectionTime(milliseconds),
    })
    return this.#reader
  }

  #onEvent(event: SseEvent): void {
    if (this.owner.isOver) return
    const { isTerminal, dedupe, objectMode } = this.options
    // A block without data is not an event (HTML, 9.2.6): `isTerminal` is not called, and the idle timeout is not reset.
    const isEvent = event.data !== undefined
    const isLast = isEvent && isTerminal?.(event) === true
    const isFresh = this.delivered.event(event)
    if (isFresh || !dedupe) {
      if (isFresh && isEvent) this.onFreshEvents()
      if (objectMode) this.#passEvent(event)
      else this.#out += serializeEvent(event)
    } else if (isEvent) {
      this.owner.onDuplicate(event)
    }
    if (!isLast) return
    this.#flush()
    this.owner.onTerminal()
  }

  #passEvent({ id, event, data }: SseEvent): void {
    const { lastEventId } = this.delivered
    // A block with an id alone has no other fields.
    const passed = data === undefined ? { id, lastEventId } : { id, event, data, lastEventId }
    if (!this.sink.event(passed)) this.owner.onFull()
  }

  #onComment(text: string): void {
    if (this.owner.isOver) return
    const { comments, objectMode } = this.options
    this.sink.comment?.(text)
    if (comments && !objectMode) this.#out += serializeComment(text)
  }

  #flush(): void {
    const out = this.#out
    this.#out = ''
    if (out !== '' && !this.owner.isOver && !this.sink.blocks(Buffer.from(out))) this.owner.onFull()
  }
}

/** Passes every byte on unchanged, for a request that is sent once: its whole response belongs to the client. */
export class VerbatimIntake extends Intake {
  readonly #reader = new BlockReader({
    onEvent: (event) => this.#onEvent(event),
    onComment: () => {},
    onRetry: () => {},
  })

  get isBetweenBlocks(): boolean {
    return this.scanner.isBetweenBlocks
  }

  protected take(chunk: Buffer): void {
    if (!this.sink.blocks(chunk)) this.owner.onFull()
    this.scanner.push(chunk)
    for (let run = this.scanner.next(); run !== undefined; run = this.scanner.next()) {
      if (this.owner.isOver) return
      if (this.options.isTerminal || this.scanner.mustRead) this.#reader.read(run)
      else {
        this.delivered.blocks(run, this.scanner)
        if (this.scanner.events > 0) this.onFreshEvents()
      }
    }
    this.checkSize()
  }

  end(): void {}

  #onEvent(event: SseEvent): void {
    if (this.owner.isOver) return
    const isFresh = this.delivered.event(event)
    if (event.data === undefined) return
    if (isFresh) this.onFreshEvents()
    if (this.options.isTerminal?.(event)) this.owner.onTerminal()
  }
}
