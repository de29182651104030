import { addAbortSignal, type Readable } from 'node:stream'
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
import { LateFailureReadable } from './wire/late-failure.ts'

/**
 * The events of a source, and their arguments.
 *
 * @example
 * ```ts
 * import type { SourceEventMap, SseEvent } from 'resilient-sse'
 *
 * const onGap = (...[{ upstream }]: SourceEventMap<SseEvent>['gap']) => console.log(`events of ${upstream} may be missing`)
 * ```
 */
export interface SourceEventMap<Chunk> {
  data: [chunk: Chunk]
  end: []
  close: []
  error: [error: Error]
  pause: []
  readable: []
  resume: []
  /** A connection was opened. */
  open: [message: OpenMessage]
  /** A connection was lost. */
  drop: [message: DropMessage]
  /** The next attempt is due after a delay. */
  retry: [message: RetryMessage]
  /** Events may be missing here. */
  gap: [message: GapMessage]
  /** A repeated event was dropped. */
  duplicate: [message: DuplicateMessage]
  /** The upstream sent a comment. */
  comment: [text: string]
}

/**
 * The members that a source adds to a Readable, or types more exactly.
 *
 * @example
 * ```ts
 * import type { SourceMembers, SseEvent } from 'resilient-sse'
 *
 * const line = ({ state, stats }: SourceMembers<SseEvent>) => `${state}, ${stats.events} events`
 * ```
 */
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
  /** The current state. */
  readonly state: SourceState
  /**
   * The last event ID of the events that were passed on, including those in the stream's buffer; `''` without one. A reader
   * that stores its position stores the `lastEventId` of the latest event that it has processed instead.
   */
  readonly lastEventId: string
  /** The current counters: a new object for each access. */
  readonly stats: StreamStats
}

/**
 * A Readable that spans many upstream connections.
 *
 * @example
 * ```ts
 * import type { ResilientSseSource, SseEvent } from 'resilient-sse'
 *
 * async function print(source: ResilientSseSource<SseEvent>): Promise<void> {
 *   for await (const { data } of source) console.log(data, source.state)
 * }
 * ```
 */
export type ResilientSseSource<Chunk = Buffer | SseEvent> = SourceMembers<Chunk> & Readable

/**
 * Makes a Readable that opens an upstream event stream through `factory`, reconnects after each drop, resumes from the
 * cursor, and drops repeated events. The first read starts the first attempt.
 *
 * The source yields bytes, or {@link SseEvent}s with `objectMode: true`. It ends after an event that `isTerminal` accepts,
 * and when the upstream answers 204. It fails with an {@link SseError} when reconnecting would be wrong, after its buffer
 * was read; an error thrown by a function of the caller fails the source at once.
 *
 * @param factory - Called once for each attempt; returns the upstream's response.
 * @throws `TypeError` or `RangeError` that names a wrong option.
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model | HTML, 9.2.3}
 *
 * @example
 * ```ts
 * import { createResilientSseSource, httpUpstream } from 'resilient-sse'
 *
 * const upstream = httpUpstream('http://localhost:3000/events')
 * for await (const { data } of createResilientSseSource(upstream, { objectMode: true })) console.log(data)
 * ```
 */
export function createResilientSseSource<Mode extends boolean | undefined = false>(
  factory: UpstreamFactory,
  options: SourceOptions & { readonly objectMode?: Mode } = {},
): ResilientSseSource<ChunkOf<Mode>> {
  if (typeof factory !== 'function') throw new TypeError(`factory must be a function, got ${shown(factory)}`)
  return new Source<ChunkOf<Mode>>(factory, checkSourceOptions(options))
}

/**
 * The type of a source's chunks, by its option `objectMode`.
 *
 * @example
 * ```ts
 * import type { ChunkOf } from 'resilient-sse'
 *
 * const text = (event: ChunkOf<true>, bytes: ChunkOf<false>) => `${event.data} ${bytes.toString()}`
 * ```
 */
export type ChunkOf<Mode extends boolean | undefined> = Mode extends true ? SseEvent : Buffer

class Source<Chunk> extends LateFailureReadable<Chunk> implements SourceMembers<Chunk>, Sink {
  readonly #stream: ReconnectingStream

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

  override _read(): void {
    this.#stream.resume()
    this.#stream.start()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stream.stop(error ?? undefined)
    callback(error)
  }

  get readsComments(): boolean {
    return this.listenerCount('comment') > 0
  }

  blocks(bytes: Buffer): boolean {
    // The buffer is used again for what the upstream sends next.
    return this.push(Buffer.from(bytes))
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
    // An error thrown by a function of the caller does not wait for the buffer to be read.
    if (error instanceof SseError) this.failLate(error)
    else this.destroy(error)
  }
}
