import { addAbortSignal, Readable } from 'node:stream'
import type {
  DropMessage,
  DuplicateMessage,
  GapMessage,
  Messages,
  OpenMessage,
  RetryMessage,
  StreamStats,
} from './diagnostics.ts'
import { SseError, shown } from './errors.ts'
import { type CheckedOptions, checkSourceOptions, type SourceOptions } from './reconnect/options.ts'
import { ReconnectingStream, type SourceState } from './reconnect/reconnecting-stream.ts'
import type { Announced, Sink } from './reconnect/sink.ts'
import type { UpstreamFactory } from './upstream/shapes.ts'
import type { SseEvent } from './wire/event.ts'

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
  readonly stats: StreamStats
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
export function createResilientSseSource<Mode extends boolean | undefined = false>(
  factory: UpstreamFactory,
  options: SourceOptions & { readonly objectMode?: Mode } = {},
): ResilientSseSource<ChunkOf<Mode>> {
  if (typeof factory !== 'function') throw new TypeError(`factory must be a function, got ${shown(factory)}`)
  return new Source<ChunkOf<Mode>>(factory, checkSourceOptions(options))
}

/** What a source yields, by its option `objectMode`. */
export type ChunkOf<Mode extends boolean | undefined> = Mode extends true ? SseEvent : Buffer

class Source<Chunk> extends Readable implements SourceMembers<Chunk>, Sink {
  readonly #stream: ReconnectingStream
  /** What the source fails with as soon as everything passed on before has been read. */
  #failure: Error | undefined

  constructor(factory: UpstreamFactory, options: CheckedOptions) {
    const { objectMode, highWaterMark, signal } = options
    super({ objectMode, ...(highWaterMark !== undefined && { highWaterMark }) })
    this.#stream = new ReconnectingStream(factory, options, this)
    if (signal) addAbortSignal(signal, this)
  }

  get state(): SourceState {
    return this.#stream.state
  }

  get lastEventId(): string {
    return this.#stream.lastEventId
  }

  get stats(): StreamStats {
    return this.#stream.stats
  }

  override on<E extends keyof SourceEventMap<Chunk>>(
    event: E,
    listener: (...args: SourceEventMap<Chunk>[E]) => void,
  ): this
  override on(event: string | symbol, listener: (...args: unknown[]) => void): this
  override on(event: string | symbol, listener: (...args: unknown[]) => void): this {
    return super.on(event, listener)
  }

  override once<E extends keyof SourceEventMap<Chunk>>(
    event: E,
    listener: (...args: SourceEventMap<Chunk>[E]) => void,
  ): this
  override once(event: string | symbol, listener: (...args: unknown[]) => void): this
  override once(event: string | symbol, listener: (...args: unknown[]) => void): this {
    return super.once(event, listener)
  }

  override off<E extends keyof SourceEventMap<Chunk>>(
    event: E,
    listener: (...args: SourceEventMap<Chunk>[E]) => void,
  ): this
  override off(event: string | symbol, listener: (...args: unknown[]) => void): this
  override off(event: string | symbol, listener: (...args: unknown[]) => void): this {
    return super.off(event, listener)
  }

  override [Symbol.asyncIterator](): NodeJS.AsyncIterator<Chunk> {
    return super[Symbol.asyncIterator]()
  }

  override _read(): void {
    this.#stream.resume()
    this.#stream.start()
  }

  /** A failure waits until what was passed on before it has been read: otherwise those events would be lost. */
  override read(size?: number): Chunk | null {
    // Node would still hand out what is buffered.
    if (this.destroyed) return null
    // As at an end: the rest is handed out, where less is left than was asked for.
    const isRest = this.#failure !== undefined && size !== undefined && size > this.readableLength
    const chunk: Chunk | null = super.read(isRest ? undefined : size)
    if (this.#failure && this.readableLength === 0) process.nextTick(() => this.destroy(this.#failure))
    return chunk
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stream.stop(error ?? undefined)
    callback(error)
  }

  get readsComments(): boolean {
    return this.listenerCount('comment') > 0
  }

  blocks(bytes: Buffer): boolean {
    return this.push(bytes)
  }

  event(event: SseEvent): boolean {
    return this.push(event)
  }

  comment(text: string): void {
    this.emit('comment', text)
  }

  announced<K extends Announced>(kind: K, message: Messages[K]): void {
    this.emit(kind, message)
  }

  end(): void {
    this.push(null)
  }

  fail(error: Error): void {
    // What a function of the caller's throws ends the source at once; a failure of the upstream comes in its turn.
    if (!(error instanceof SseError) || this.readableLength === 0) {
      this.destroy(error)
      return
    }
    this.#failure = error
    // A reader that waits for more than is left would wait for ever.
    this.emit('readable')
  }
}
