import { mostFraming, putChunk, putTextChunk } from './chunk-frame.ts'

const size = 131_072

/**
 * Memory for chunks that are about to be written, one behind the other. It is used again as soon as the kernel has taken the
 * bytes. A new buffer for each write would be garbage outside the heap of V8, which answers such garbage with collections of the
 * whole heap: most of the cost of large events.
 */
export class FrameMemory {
  #bytes = Buffer.allocUnsafeSlow(size)
  /** The bytes before this place are in use, possibly for longer than one turn of the event loop. */
  #start = 0
  #end = 0
  #isHeld = false

  /** Where the next chunk will start. */
  get end(): number {
    return this.#end
  }

  /** Whether a chunk with so much data fits behind the others. */
  fits(length: number): boolean {
    return length + mostFraming <= size - this.#end
  }

  /** Whether a chunk with so much data fits into empty memory. */
  canFit(length: number): boolean {
    return length + mostFraming <= size
  }

  /** Adds a chunk with data that fits. */
  add(data: Uint8Array): void {
    this.#end = putChunk(this.#bytes, this.#end, data)
  }

  /** Adds a chunk of text that fits: `length` is the text's length in UTF-8. */
  addText(text: string, length: number): void {
    this.#end = putTextChunk(this.#bytes, this.#end, text, length)
  }

  slice(from: number, to: number): Buffer {
    return this.#bytes.subarray(from, to)
  }

  /** Gives back bytes that are written, and no longer needed. */
  release(from: number, to: number): void {
    if (to === this.#end) this.#end = from
  }

  /** Keeps all bytes that were added since {@link releaseRest}. */
  hold(): void {
    this.#isHeld = true
  }

  /** Gives back the bytes that were not released one by one, unless they are held. Called when all of them are written. */
  releaseRest(): void {
    if (this.#isHeld) this.#start = this.#end
    else this.#end = this.#start
    this.#isHeld = false
  }

  /** Takes new memory. The old memory belongs to the slices of it. Called when all bytes are written. */
  renew(): void {
    this.#bytes = Buffer.allocUnsafeSlow(size)
    this.#start = 0
    this.#end = 0
    this.#isHeld = false
  }
}
