import { addAbortSignal, type Readable } from 'node:stream'
import { asError, SseError } from '../errors.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import { LateFailureReadable } from '../wire/late-failure.ts'
import { BlockReader } from '../wire/reader.ts'
import type { JoinRequest, Member } from './member.ts'
import type { CheckedSubscribeOptions } from './options.ts'
import type { Place } from './place.ts'
import { formatId } from './position-id.ts'
import { type GapReason, Reader, type ReaderTarget } from './reader.ts'
import type { EndEntry, Position } from './store.ts'
import type { SharedStream } from './stream.ts'

/**
 * A Readable that yields a shared stream from a place in it. Destroying the Readable does not end the stream. Emits `gap` when
 * events are missing before the next one: `'trimmed'`, they are no longer kept; `'unknown-id'`, nothing is known of the place;
 * `'upstream'`, the upstream could not be resumed.
 *
 * @example
 * ```ts
 * import { createSseHub, type SseEvent, type SseSubscription } from 'resilient-sse'
 *
 * const events: SseSubscription<SseEvent> = createSseHub().subscribe('feed', undefined, { objectMode: true })
 * for await (const { data } of events) console.log(data)
 * ```
 */
export type SseSubscription<Chunk> = Readable & {
  /** The id of the latest event that was yielded, or the place at which the subscription has started; `''` without one. */
  readonly lastEventId: string
  [Symbol.asyncIterator](): NodeJS.AsyncIterator<Chunk>
}

/** A client of a shared stream in this process: a Readable, and a place in the stream's log. */
export class Subscription<Chunk> extends LateFailureReadable<Chunk> implements Member, ReaderTarget {
  readonly request: JoinRequest
  readonly #openStream: () => SharedStream
  #stream: SharedStream | undefined
  readonly #factory: UpstreamFactory | undefined
  readonly #options: CheckedSubscribeOptions
  readonly #blocks: BlockReader | undefined
  #reader: Reader | undefined
  #position: Position | undefined
  #isStarted = false
  #hasRoom = true

  constructor(
    openStream: () => SharedStream,
    factory: UpstreamFactory | undefined,
    options: CheckedSubscribeOptions,
  ) {
    const { objectMode, highWaterMark, lastEventId = '', from, signal } = options
    super({ objectMode, ...(highWaterMark !== undefined && { highWaterMark }) })
    this.#openStream = openStream
    this.#factory = factory
    this.#options = options
    this.request = { lastEventId, from }
    if (objectMode) this.#blocks = this.#createBlockReader()
    if (signal) addAbortSignal(signal, this)
  }

  get lastEventId(): string {
    const position = this.#reader?.position ?? this.#position
    return position === undefined ? this.request.lastEventId : formatId(position, undefined)
  }

  override _read(): void {
    this.#hasRoom = true
    if (this.#isStarted) this.#reader?.resume()
    else this.#start()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#leave()
    callback(error)
  }

  onUpstreamGap(): void {
    this.emit('gap', 'upstream')
  }

  onFailure(error: Error): void {
    this.#leave()
    if (error instanceof SseError) this.failLate(error)
    else this.destroy(error)
  }

  dismiss(): boolean {
    this.onFailure(new SseError('ERR_SSE_HUB_CLOSED', 'the hub was closed'))
    return true
  }

  onEvents(bytes: Buffer): boolean {
    if (this.#blocks) this.#blocks.read(bytes)
    // A copy, because all clients of the stream share the buffer, and a consumer may change what it reads.
    else this.#hasRoom = this.push(Buffer.from(bytes))
    return this.#hasRoom
  }

  onGap(reason: GapReason): void {
    const onGap = this.#options.onGap ?? (this.#stream?.isResumable ? 'continue' : 'refuse')
    this.#stream?.announcer.gap(reason, this.request.lastEventId, onGap === 'refuse')
    if (onGap === 'continue') this.emit('gap', reason)
    else this.onFailure(new SseError('ERR_SSE_STREAM_GONE', `the stream cannot be resumed: ${reason}`))
  }

  onEnd(end: EndEntry): void {
    if (end.how === 'failed' && this.#stream) {
      this.onFailure(this.#stream.ownership.errorOf(end))
      return
    }
    this.#leave()
    this.push(null)
  }

  #start(): void {
    this.#isStarted = true
    let stream: SharedStream
    try {
      stream = this.#openStream()
    } catch (error) {
      this.onFailure(asError(error))
      return
    }
    this.#stream = stream
    stream.join(this, this.#factory).then(
      (place) => place && this.#begin(stream, place),
      (error: unknown) => this.onFailure(asError(error)),
    )
  }

  #begin(stream: SharedStream, { after, gap }: Place): void {
    this.#position = after
    if (gap) this.onGap(gap)
    if (this.destroyed) return
    this.#reader = new Reader(stream.log, after, this, this.request.lastEventId === '')
    this.#reader.read()
  }

  #createBlockReader(): BlockReader {
    return new BlockReader({
      onEvent: (event) => {
        this.#hasRoom = this.push({ ...event, ...(event.id !== undefined && { lastEventId: event.id }) })
      },
      onComment: () => {},
      onRetry: () => {},
    })
  }

  #leave(): void {
    this.#position = this.#reader?.position ?? this.#position
    this.#reader?.close()
    this.#reader = undefined
    this.#stream?.leave(this)
  }
}
