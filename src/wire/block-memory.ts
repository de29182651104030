/** Smaller buffers are cheap to allocate, and few of them are needed at a time. */
const smallest = 4096
/** Larger buffers are not kept. */
const largest = 262_144
/** The most bytes of the buffers that are kept. */
const mostKept = 2 * 1024 * 1024

const classOf = (size: number) => 32 - Math.clz32(size - 1)

/**
 * Buffers for blocks that are not whole yet. A buffer is used again once its block was passed on, by any stream: a stream between
 * two blocks has none. A new buffer for each block would be garbage outside the heap of V8, which answers such garbage with
 * collections of the whole heap: most of the cost of large events.
 */
export class BlockMemory {
  /** The buffers that are not in use, by the logarithm of their size. */
  readonly #free: Buffer[][] = []
  #kept = 0

  /** The bytes of the buffers that are not in use. */
  get kept(): number {
    return this.#kept
  }

  /** A buffer of at least `size` bytes. Its contents are undefined. */
  take(size: number): Buffer {
    if (size < smallest) return Buffer.allocUnsafe(size)
    if (size > largest) return Buffer.allocUnsafeSlow(size)
    const sizeClass = classOf(size)
    const buffer = this.#free[sizeClass]?.pop()
    if (buffer === undefined) return Buffer.allocUnsafeSlow(2 ** sizeClass)
    this.#kept -= buffer.length
    return buffer
  }

  /** Takes a buffer back that is no longer used. */
  give(buffer: Buffer): void {
    const { length } = buffer
    if (length < smallest || length > largest || this.#kept + length > mostKept) return
    const sizeClass = classOf(length)
    const free = this.#free[sizeClass]
    if (free === undefined) this.#free[sizeClass] = [buffer]
    else free.push(buffer)
    this.#kept += length
  }
}

/** The memory of all streams. */
export const blockMemory = new BlockMemory()
