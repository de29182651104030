import { Readable } from 'node:stream'
import { withQuickReads } from './chunk-iterator.ts'

/** A Readable that is destroyed by a failure only after its buffer was read: otherwise buffered data would be lost. */
export abstract class LateFailureReadable<Chunk> extends Readable {
  #failure: Error | undefined

  override [Symbol.asyncIterator](): NodeJS.AsyncIterator<Chunk> {
    return withQuickReads<Chunk>(super[Symbol.asyncIterator](), this)
  }

  override read(size?: number): Chunk | null {
    // Node would still return buffered data.
    if (this.destroyed) return null
    // As at the end of a Readable, the rest is returned when less is buffered than `size`.
    const isRest = this.#failure !== undefined && size !== undefined && size > this.readableLength
    const chunk: Chunk | null = super.read(isRest ? undefined : size)
    if (this.#failure && this.readableLength === 0) process.nextTick(() => this.destroy(this.#failure))
    return chunk
  }

  /** Destroys the stream once its buffer was read. */
  protected failLate(error: Error): void {
    if (this.readableLength === 0) {
      this.destroy(error)
      return
    }
    this.#failure = error
    // A reader that waits for more bytes than are buffered would wait for ever.
    this.emit('readable')
  }
}
