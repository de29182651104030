/** Smaller pieces are copied: by reference each would keep a buffer, often a bigger one, alive. */
const leastReferenced = 4096
const largestPage = 8192

/** Bytes in their order: large pieces by reference, small ones copied together. */
export class Pieces {
  #pieces: Buffer[] = []
  #size = 0
  /** The last piece, where that has room at its end. */
  #page: Buffer | undefined
  #pageSize = 0

  /** In bytes. */
  get size(): number {
    return this.#size
  }

  add(bytes: Buffer): void {
    if (bytes.length === 0) return
    if (bytes.length >= leastReferenced && 2 * bytes.length >= bytes.buffer.byteLength) {
      this.#closePage()
      this.#pieces.push(bytes)
    } else this.#copy(bytes)
    this.#size += bytes.length
  }

  /** Takes all of them off. */
  take(): Buffer[] {
    this.#closePage()
    const pieces = this.#pieces
    this.#pieces = []
    this.#size = 0
    return pieces
  }

  #copy(bytes: Buffer): void {
    if (this.#page === undefined || this.#page.length - this.#pageSize < bytes.length) {
      this.#closePage()
      // Who says little costs little.
      const size = Math.min(largestPage, Math.max(256, 2 * this.#size))
      this.#page = Buffer.allocUnsafeSlow(Math.max(bytes.length, size))
      this.#pageSize = 0
      this.#pieces.push(this.#page)
    }
    this.#page.set(bytes, this.#pageSize)
    this.#pageSize += bytes.length
  }

  #closePage(): void {
    if (this.#page === undefined) return
    this.#pieces[this.#pieces.length - 1] = this.#page.subarray(0, this.#pageSize)
    this.#page = undefined
  }
}
