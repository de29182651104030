/** Smaller pieces are copied: by reference each would keep a buffer, often a bigger one, alive. */
const leastReferenced = 4096
const mostCopied = 8192
const blankLine = Buffer.from('\n\n')

/**
 * The latest whole blocks that were passed on without being read. They are read when the connection drops, since a repeat
 * can then come. Large pieces are kept by reference, small ones are copied together.
 */
export class RecentBlocks {
  readonly #limit: number
  readonly #pageSize: number
  #pieces: Buffer[] = []
  #size = 0
  /** The last piece, where that has room at its end. */
  #page: Buffer | undefined
  #used = 0
  #hasDiscarded = false

  /** @param limit - The most bytes that are kept; the latest blocks are, however many. */
  constructor(limit: number) {
    this.#limit = limit
    this.#pageSize = Math.min(mostCopied, Math.ceil(limit / 4))
  }

  get isEmpty(): boolean {
    return this.#size === 0
  }

  add(blocks: Buffer): void {
    if (blocks.length >= leastReferenced && 2 * blocks.length >= blocks.buffer.byteLength) {
      this.#closePage()
      this.#pieces.push(blocks)
    } else {
      this.#copy(blocks)
    }
    this.#size += blocks.length
    while (this.#size > this.#limit && this.#pieces.length > 1) this.#discardOldest()
  }

  /** Discards the first piece; of a large piece the end is kept, where less than half the limit would be left. */
  #discardOldest(): void {
    const first = this.#pieces.shift()
    if (first === undefined) return
    this.#hasDiscarded = true
    this.#size -= first.length
    if (this.#size >= this.#limit / 2) return
    const end = first.indexOf(blankLine, first.length - (this.#limit - this.#size))
    const rest = first.subarray(end + blankLine.length)
    if (end === -1 || rest.length === 0) return
    this.#pieces.unshift(rest)
    this.#size += rest.length
  }

  /** Whether blocks were discarded since the last call. */
  hasDiscarded(): boolean {
    const hasDiscarded = this.#hasDiscarded
    this.#hasDiscarded = false
    return hasDiscarded
  }

  /** Returns what is kept, in order, whole blocks in each piece, and keeps nothing of it. */
  take(): Buffer[] {
    this.#closePage()
    const pieces = this.#pieces
    this.#pieces = []
    this.#size = 0
    return pieces
  }

  #copy(blocks: Buffer): void {
    if (this.#page === undefined || this.#page.length - this.#used < blocks.length) {
      this.#closePage()
      // A stream with few small events takes a small page.
      const size = Math.min(this.#pageSize, Math.max(256, 2 * this.#size))
      this.#page = Buffer.allocUnsafeSlow(Math.max(blocks.length, size))
      this.#used = 0
      this.#pieces.push(this.#page)
    }
    this.#page.set(blocks, this.#used)
    this.#used += blocks.length
  }

  #closePage(): void {
    if (this.#page === undefined) return
    this.#pieces[this.#pieces.length - 1] = this.#page.subarray(0, this.#used)
    this.#page = undefined
  }
}
