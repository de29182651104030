import { addAbortSignal, Readable } from 'node:stream'
import {
  announce,
  type DropMessage,
  type DropReason,
  type DuplicateMessage,
  type GapMessage,
  type Messages,
  type OpenMessage,
  type RetryMessage,
} from './diagnostics.ts'
import { asError, shown } from './errors.ts'
import { type CheckedOptions, checkSourceOptions, type SourceOptions } from './reconnect/options.ts'
import { type ConnectionUser, Reconnector, type SourceState } from './reconnect/reconnecting-stream.ts'
import { PassedOn } from './resume/delivered.ts'
import type { Connection } from './upstream/connection.ts'
import type { UpstreamFactory } from './upstream/shapes.ts'
import { type SseEvent, serializeComment, serializeEvent } from './wire/event.ts'
import { EventReader } from './wire/reader.ts'

/** A snapshot of what a source has been through. */
export interface SourceStats {
  /** Calls of the factory. */
  readonly attempts: number
  /** Connections that were open, an adopted one included. */
  readonly opens: number
  /** Connections that were lost, by reason. */
  readonly drops: Readonly<Record<DropReason, number>>
  /** Events passed on. */
  readonly events: number
  /** Repeated events dropped. */
  readonly duplicates: number
  /** Times that a connection opened without a place to resume from. */
  readonly gaps: number
  /** Bytes read from upstream bodies, after decoding. */
  readonly bytes: number
  /** Milliseconds without an open connection since the first drop or failure, an outage that still goes on included. */
  readonly downtime: number
  /** The latest failed attempt or drop. */
  readonly lastError: Error | undefined
}

/** The events of a source besides those of every Readable, and the type of its chunks. */
export interface SourceEventMap<Chunk> {
  data: [chunk: Chunk]
  end: []
  close: []
  error: [error: Error]
  pause: []
  readable: []
  resume: []
  /** A connection is open. */
  open: [message: OpenMessage]
  /** A connection was lost. */
  drop: [message: DropMessage]
  /** The next attempt is due after a delay. */
  retry: [message: RetryMessage]
  /** Events may be missing here. */
  gap: [message: GapMessage]
  /** A repeated event was dropped. */
  duplicate: [message: DuplicateMessage]
  /** A comment of the upstream. */
  comment: [text: string]
}

/** What a source has besides, or more exactly typed than, every Readable. */
export interface SourceMembers<Chunk> {
  on<E extends keyof SourceEventMap<Chunk>>(
    event: E,
    listener: (...args: SourceEventMap<Chunk>[E]) => void,
  ): this
  once<E extends keyof SourceEventMap<Chunk>>(
    event: E,
    listener: (...args: SourceEventMap<Chunk>[E]) => void,
  ): this
  off<E extends keyof SourceEventMap<Chunk>>(
    event: E,
    listener: (...args: SourceEventMap<Chunk>[E]) => void,
  ): this
  read(size?: number): Chunk | null
  [Symbol.asyncIterator](): NodeJS.AsyncIterator<Chunk>
  /** Where it stands. */
  readonly state: SourceState
  /**
   * The last event ID of what was passed on, which includes what waits in the stream's buffer; `''` when there is none.
   * Where a reader keeps its place, it keeps the `lastEventId` of the event that it has dealt with.
   */
  readonly lastEventId: string
  /** What it has been through so far: a new object each time. */
  readonly stats: SourceStats
}

/** A Readable that spans many upstream connections. */
export type ResilientSseSource<Chunk = Buffer | SseEvent> = SourceMembers<Chunk> & Readable

/**
 * Makes a Readable that opens an upstream event stream through `factory`, opens it anew whenever it drops, resumes
 * where it was, and drops what was already passed on. Nothing starts before it is read.
 *
 * It yields bytes, or {@link SseEvent}s with `objectMode: true`. It ends after an event that `isTerminal` accepts and
 * when the upstream answers 204; it fails with an {@link SseError} where going on would be wrong, once what was passed
 * on before has been read.
 *
 * @throws `TypeError` or `RangeError` that names a wrong option.
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model | HTML, 9.2.3}
 */
export function createResilientSseSource(
  factory: UpstreamFactory,
  options: SourceOptions & { readonly objectMode: true },
): ResilientSseSource<SseEvent>
export function createResilientSseSource(
  factory: UpstreamFactory,
  options?: SourceOptions & { readonly objectMode?: false | undefined },
): ResilientSseSource<Buffer>
export function createResilientSseSource(
  factory: UpstreamFactory,
  options?: SourceOptions,
): ResilientSseSource
export function createResilientSseSource(factory: UpstreamFactory, options: SourceOptions = {}): Readable {
  if (typeof factory !== 'function') throw new TypeError(`factory must be a function, got ${shown(factory)}`)
  return new Source(factory, checkSourceOptions(options))
}

class Source extends Readable implements ConnectionUser {
  readonly #options: CheckedOptions
  readonly #reconnector: Reconnector
  #running = false
  #reader: EventReader | undefined
  readonly #passed: PassedOn
  /** A chunk is being read; those that come meanwhile wait. */
  #reading = false
  readonly #waiting: unknown[] = []
  readonly #take = (blocks: Buffer) => this.#passUnread(blocks)
  /** Bytes of the chunk that is being read, in byte mode. */
  #out = ''
  /** The last event has been passed on. */
  #terminated = false
  /** What the source fails with as soon as everything passed on before has been read. */
  #failure: Error | undefined
  readonly #counts = { duplicates: 0, bytes: 0 }

  constructor(factory: UpstreamFactory, options: CheckedOptions) {
    const { objectMode, highWaterMark, signal } = options
    super({ objectMode, ...(highWaterMark !== undefined && { highWaterMark }) })
    this.#options = options
    this.#passed = new PassedOn(options)
    this.#reconnector = new Reconnector(factory, options, this)
    if (signal) addAbortSignal(signal, this)
  }

  get state(): SourceState {
    return this.#reconnector.state
  }

  get lastEventId(): string {
    return this.#passed.lastEventId
  }

  get stats(): SourceStats {
    return { ...this.#reconnector.stats, ...this.#counts, events: this.#passed.events }
  }

  get passedOn(): boolean {
    return this.#passed.events > 0
  }

  get fresh(): boolean {
    return this.#passed.fresh
  }

  override _read(): void {
    this.#reconnector.resume()
    if (this.#running) return
    this.#running = true
    this.#reconnector.run().then(
      () => this.push(null),
      (error: unknown) => this.#fail(error),
    )
  }

  /** A failure waits until what was passed on before it has been read: otherwise those events would be lost. */
  override read(size?: number): unknown {
    // Node would still hand out what is buffered.
    if (this.destroyed) return null
    // As at an end: what is left, where less is left than was asked for.
    const rest = this.#failure !== undefined && size !== undefined && size > this.readableLength
    const chunk: unknown = super.read(rest ? undefined : size)
    if (this.#failure && this.readableLength === 0) process.nextTick(() => this.destroy(this.#failure))
    return chunk
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#passed.destroyed()
    // Nobody waits for the rest of an event any more.
    this.#reader = undefined
    const { about, openFor } = this.#reconnector
    this.#reconnector.stop(error ?? undefined)
    announce('end', { ...about, error: error ?? undefined, duration: openFor }, this.#options.logger)
    callback(error)
  }

  onOpen(connection: Connection): void {
    const { comments, maxEventSize, objectMode } = this.#options
    this.#passed.opened()
    this.#reader = new EventReader(maxEventSize, {
      onEvent: (event) => {
        if (!this.#stopped()) this.#guard(() => this.#onEvent(event, connection))
      },
      onComment: (text) => {
        if (this.#stopped()) return
        this.#guard(() => this.emit('comment', text))
        if (comments && !objectMode) this.#out += serializeComment(text)
      },
      onRetry: (milliseconds) => {
        this.#reconnector.reconnectionTime = milliseconds
      },
    })
  }

  onChunk(chunk: unknown, connection: Connection): void {
    // A listener may make the upstream say more while a chunk is being passed on.
    if (this.#reading) {
      this.#waiting.push(chunk)
      return
    }
    this.#reading = true
    try {
      this.#readChunk(chunk, connection)
      while (this.#waiting.length > 0) this.#readChunk(this.#waiting.shift(), connection)
    } finally {
      this.#reading = false
      this.#waiting.splice(0)
    }
  }

  #readChunk(chunk: unknown, connection: Connection): void {
    const bytes = bytesOf(chunk)
    this.#counts.bytes += bytes.length
    if (this.#options.idleResetOn === 'bytes') connection.touch()
    try {
      this.#reader?.read(bytes, this.#take)
    } finally {
      this.#flush()
    }
    if (this.#terminated) connection.close()
  }

  onEnd(): void {
    this.#reader?.end()
    this.#reader = undefined
    this.#passed.ended()
  }

  announce<K extends Exclude<keyof Messages, 'end'>>(name: K, message: Messages[K]): void {
    this.#guard(() => {
      announce(name, message, this.#options.logger)
      this.emit(name, message)
    })
  }

  #onEvent(event: SseEvent, connection: Connection): void {
    const { tracker, dedupe, isTerminal, idleResetOn, objectMode } = this.#options
    if (idleResetOn === 'events') connection.touch()
    // A block with an id alone is no event: nobody's function is asked about it, and it is no progress.
    const dispatched = event.data !== undefined
    if (dispatched && isTerminal?.(event)) this.#terminated = true
    if (!this.#passed.note(event) && dedupe) {
      this.#counts.duplicates++
      this.announce('duplicate', { ...this.#reconnector.about, event })
      return
    }
    if (objectMode) this.#pass({ ...event, lastEventId: tracker.lastEventId })
    else this.#out += serializeEvent(event)
  }

  /** Passes whole blocks on as they are, where nobody has to know what they say. */
  #passUnread(blocks: Buffer): boolean {
    if (this.destroyed) return true
    if (this.listenerCount('comment') > 0) return false
    const skimmed = this.#passed.skim(blocks)
    if (skimmed === undefined) return false
    this.#flush()
    if (this.destroyed) return true
    this.#passed.noteUnread(blocks, skimmed)
    this.#guard(() => this.#pass(blocks))
    return true
  }

  /** Passes on what was written of the events that were read. */
  #flush(): void {
    const out = this.#out
    this.#out = ''
    if (out !== '' && !this.destroyed) this.#guard(() => this.#pass(Buffer.from(out)))
  }

  #pass(chunk: Buffer | SseEvent): void {
    if (!this.push(chunk)) this.#reconnector.pause()
  }

  /**
   * Calls what may call a function of the caller's. What that throws is what the stream fails with, at once: whatever it
   * looks like, it is not the upstream's, and no reason to reconnect.
   */
  #guard(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.destroy(asError(error))
      throw error
    }
  }

  /** Nothing is passed on any more, not even the rest of a chunk. */
  #stopped(): boolean {
    return this.#terminated || this.destroyed
  }

  #fail(cause: unknown): void {
    if (this.destroyed) return
    const error = asError(cause)
    if (this.readableLength === 0) {
      this.destroy(error)
      return
    }
    this.#failure = error
    // Whoever waits for more than is left would wait for ever.
    this.emit('readable')
  }
}

function bytesOf(chunk: unknown): Buffer {
  if (Buffer.isBuffer(chunk)) return chunk
  if (typeof chunk === 'string') return Buffer.from(chunk)
  if (chunk instanceof Uint8Array) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  throw new TypeError(`an upstream must yield bytes or strings, got ${shown(chunk)}`)
}
