/** Smaller pieces are copied: a reference would keep their whole buffer, often a larger one, in memory. */
const leastReferenced = 4096
const mostCopied = 8192
/**
 * The first blocks, up to this size, are kept as a string. Node has just allocated 64 KiB for the chunk, and a small buffer that
 * outlives the chunk would lie there alone and hold a memory page of 4 KiB.
 */
const mostInString = 1024
/** The ends of a block, for each kind of line end. */
const blankLines = ['\n\n', '\r\n\r\n', '\r\r'].map((text) => Buffer.from(text))

/**
 * The latest whole blocks that were passed on unread. They are read after a reconnect, when repeats may follow. Large
 * pieces are kept by reference; small pieces are copied into shared pages.
 */
export class RecentBlocks {
  /** The piece that holds the latest blocks, and where they start in it; undefined while they are kept as a string. */
  latest: Buffer | undefined
  latestAt = 0
  readonly #limit: number
  readonly #pageSize: number
  /** The first blocks, each byte as one character. */
  #text = ''
  #pieces: Buffer[] = []
  #size = 0
  /** The last piece, if it is a page with free space. */
  #page: Buffer | undefined
  #used = 0
  #hasDiscarded = false

  /** @param limit - The most bytes that are kept. The latest piece is kept even if it is larger. */
  constructor(limit: number) {
    this.#limit = limit
    this.#pageSize = Math.min(mostCopied, Math.ceil(limit / 4))
  }

  get isEmpty(): boolean {
    return this.#size === 0
  }

  add(blocks: Buffer): void {
    if (this.#pieces.length === 0 && this.#size + blocks.length <= Math.min(mostInString, this.#pageSize)) {
      this.#text += blocks.toString('latin1')
      this.#size = this.#text.length
      return
    }
    this.#closeText()
    if (blocks.length >= leastReferenced && 2 * blocks.length >= blocks.buffer.byteLength) {
      this.#closePage()
      this.#push(blocks)
      this.latestAt = 0
    } else {
      this.#copy(blocks)
    }
    this.#size += blocks.length
    while (this.#size > this.#limit && this.#pieces.length > 1) this.#discardOldest()
  }

  /** Discards the oldest piece. Where less than half of the limit would remain, the end of that piece is kept. */
  #discardOldest(): void {
    const first = this.#pieces.shift()
    if (first === undefined) return
    this.#hasDiscarded = true
    this.#size -= first.length
    if (this.#size >= this.#limit / 2) return
    const from = first.length - (this.#limit - this.#size)
    const ends = blankLines.flatMap((blankLine) => {
      const at = first.indexOf(blankLine, from)
      return at === -1 ? [] : [at + blankLine.length]
    })
    const rest = first.subarray(Math.min(...ends))
    if (ends.length === 0 || rest.length === 0) return
    this.#pieces.unshift(rest)
    this.#size += rest.length
  }

  /** Whether blocks were discarded since the last call. */
  hasDiscarded(): boolean {
    const hasDiscarded = this.#hasDiscarded
    this.#hasDiscarded = false
    return hasDiscarded
  }

  /** Removes and returns all pieces, oldest first. Each piece holds whole blocks. */
  take(): Buffer[] {
    this.#closeText()
    this.#closePage()
    const pieces = this.#pieces
    this.#pieces = []
    this.#size = 0
    this.latest = undefined
    return pieces
  }

  #copy(blocks: Buffer): void {
    if (this.#page === undefined || this.#page.length - this.#used < blocks.length) {
      this.#closePage()
      // Pages grow with the stream: a stream with few small events needs only a small page.
      const size = Math.min(this.#pageSize, Math.max(256, 2 * this.#size))
      this.#page = Buffer.allocUnsafeSlow(Math.max(blocks.length, size))
      this.#used = 0
      this.#push(this.#page)
    }
    this.#page.set(blocks, this.#used)
    this.latestAt = this.#used
    this.#used += blocks.length
  }

  #push(piece: Buffer): void {
    this.latest = piece
    // An array that was pushed to has room for 17 elements, and most streams have one piece.
    if (this.#pieces.length === 0) this.#pieces = [piece]
    else this.#pieces.push(piece)
  }

  #closeText(): void {
    if (this.#text === '') return
    this.#copy(Buffer.from(this.#text, 'latin1'))
    this.#text = ''
  }

  #closePage(): void {
    if (this.#page === undefined) return
    this.#pieces[this.#pieces.length - 1] = this.#page.subarray(0, this.#used)
    this.#page = undefined
  }
}
