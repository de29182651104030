import { Transform } from 'node:stream'
import { asError } from '../errors.ts'
import { withQuickReads } from './chunk-iterator.ts'
import type { SseEvent } from './event.ts'

type Callback = (error?: Error | null) => void

/**
 * A Transform of events. While it has room it takes an event within `write`: the bookkeeping of a Writable, and the closure that a
 * Transform makes for each chunk, cost more than the work itself.
 */
export abstract class EventStage<Result> extends Transform {
  /** Lets the writer go on when there is room again. */
  #onRoom: Callback | undefined

  /** Whether the next event must wait for the reader. */
  protected abstract readonly isFull: boolean

  /** Does the part of the work that fails for a wrong event. */
  protected abstract check(event: SseEvent): Result

  /** Yields what follows from an event. */
  protected abstract pass(event: SseEvent, result: Result): void

  /** Yields what was held back. */
  protected yieldRest(): void {}

  override [Symbol.asyncIterator](): NodeJS.AsyncIterator<unknown> {
    return withQuickReads<unknown>(super[Symbol.asyncIterator](), this)
  }

  /**
   * Up to Node 24 a flowing stream still emits its buffered chunks after `destroy()`. If `Readable.toWeb` has made a web stream
   * of it and the consumer has cancelled the web stream, each such chunk causes an uncaught `ERR_INVALID_STATE`.
   */
  override read(size?: number): unknown {
    if (this.destroyed) return null
    const chunk: unknown = super.read(size)
    if (this.#onRoom !== undefined && !this.isFull) this.#goOn(this.#onRoom)
    return chunk
  }

  override write(event: SseEvent, callback?: Callback): boolean
  override write(event: SseEvent, encoding?: BufferEncoding, callback?: Callback): boolean
  override write(event: SseEvent, encoding?: BufferEncoding | Callback, callback?: Callback): boolean {
    if (typeof encoding === 'string') return super.write(event, encoding, callback)
    const whenWritten = encoding ?? callback
    if (whenWritten !== undefined || !this.#takesAtOnce) return super.write(event, whenWritten)
    let result: Result
    try {
      result = this.check(event)
    } catch {
      // As a wrong event fails any other stream.
      return super.write(event)
    }
    this.pass(event, result)
    return true
  }

  override _write(event: SseEvent, _: BufferEncoding, callback: Callback): void {
    let result: Result
    try {
      result = this.check(event)
    } catch (error) {
      this.yieldRest()
      callback(asError(error))
      return
    }
    this.pass(event, result)
    if (this.isFull) this.#onRoom = callback
    else callback()
  }

  override _flush(callback: Callback): void {
    this.yieldRest()
    callback()
  }

  /** The writer goes on when something was read. */
  override _read(): void {}

  get #takesAtOnce(): boolean {
    return this.writableLength === 0 && this.writable && this.writableCorked === 0 && !this.isFull
  }

  #goOn(onRoom: Callback): void {
    this.#onRoom = undefined
    onRoom()
  }
}
