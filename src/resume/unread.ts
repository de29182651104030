/** Smaller pieces are copied: by reference each would keep a buffer, often a bigger one, alive. */
const leastReferenced = 4096
const mostCopied = 8192
const blankLine = Buffer.from('\n\n')

/**
 * The latest whole blocks that were passed on unread, so that they can be read when it matters what they were: large
 * pieces by reference, small ones copied together.
 */
export class UnreadBlocks {
  readonly #limit: number
  readonly #pageSize: number
  #pieces: Buffer[] = []
  #size = 0
  /** The last piece, where that has room at its end. */
  #page: Buffer | undefined
  #used = 0
  #haveGone = false

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
    while (this.#size > this.#limit && this.#pieces.length > 1) this.#letGo()
  }

  /** Of the first piece, of several; of a large one the end stays, where else hardly anything would be left. */
  #letGo(): void {
    const first = this.#pieces.shift()
    if (first === undefined) return
    this.#haveGone = true
    this.#size -= first.length
    if (this.#size >= this.#limit / 2) return
    const end = first.indexOf(blankLine, first.length - (this.#limit - this.#size))
    const rest = first.subarray(end + blankLine.length)
    if (end === -1 || rest.length === 0) return
    this.#pieces.unshift(rest)
    this.#size += rest.length
  }

  /** Whether there were blocks that are not kept any more; asked for once. */
  haveGone(): boolean {
    const haveGone = this.#haveGone
    this.#haveGone = false
    return haveGone
  }

  /** Takes off what is kept, in order; whole blocks in each piece. */
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
      // Who says little costs little.
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
