const LF = 10
const CR = 13
/**
 * The first blocks, up to this size, are kept as a string. Node has just allocated 64 KiB for the chunk, and a small buffer that
 * outlives the chunk would lie there alone and hold a memory page of 4 KiB.
 */
const mostInString = 1024
const smallestRing = 256
const nothing: Buffer = Buffer.alloc(0)

/**
 * Copies of the latest whole blocks that were passed on unread. They are read after a reconnect, when repeats may follow.
 *
 * The copies are in a ring that is allocated once. Buffers that are kept for a while and replaced by others are garbage that
 * makes V8 collect its whole heap.
 */
export class RecentBlocks {
  readonly #limit: number
  /** The first blocks, each byte as one character; empty once there is a ring. */
  #text = ''
  #ring = nothing
  /** Where the next byte goes. */
  #end = 0
  /** How many bytes before that place are kept. */
  #size = 0
  /** The size of the latest blocks. */
  #latest = 0
  /** Whether a block that is kept may lack its beginning, which was overwritten. */
  #isCut = false
  #hasDiscarded = false

  /** @param limit - The most bytes that are kept. The latest block is kept even if it is larger. */
  constructor(limit: number) {
    this.#limit = limit
  }

  get isEmpty(): boolean {
    return this.#size === 0
  }

  /** @returns Whether all of the blocks are kept, so that {@link latest} can read them. */
  add(blocks: Buffer): boolean {
    const { length } = blocks
    if (this.#ring.length === 0) {
      if (this.#size + length <= Math.min(mostInString, this.#limit)) {
        this.#text += blocks.toString('latin1')
        this.#size += length
        this.#latest = length
        return true
      }
      this.#closeText()
    }
    const kept = length > this.#limit ? this.#endOf(blocks) : blocks
    this.#makeRoom(kept.length)
    this.#write(kept)
    this.#latest = kept.length
    return kept.length === length
  }

  /** A part of the blocks that were added last, as text. */
  latest(start: number, end: number): string {
    if (this.#text !== '') {
      const at = this.#size - this.#latest
      return Buffer.from(this.#text.slice(at + start, at + end), 'latin1').toString()
    }
    const room = this.#ring.length
    const at = this.#end - this.#latest + room
    const from = (at + start) % room
    const to = from + end - start
    if (to <= room) return this.#ring.toString('utf8', from, to)
    return Buffer.concat([this.#ring.subarray(from), this.#ring.subarray(0, to - room)]).toString()
  }

  /** Whether blocks were discarded since the last call. */
  hasDiscarded(): boolean {
    const hasDiscarded = this.#hasDiscarded
    this.#hasDiscarded = false
    return hasDiscarded
  }

  /** Removes and returns the blocks that are kept, oldest first. */
  take(): Buffer {
    if (this.#text !== '') {
      const blocks = Buffer.from(this.#text, 'latin1')
      this.clear()
      return blocks
    }
    const kept = this.#inOrder()
    const start = this.#isCut ? firstBlockEnd(kept, 0) : 0
    this.clear()
    return start === -1 ? nothing : kept.subarray(start)
  }

  clear(): void {
    this.#text = ''
    this.#ring = nothing
    this.#empty()
  }

  /** The last whole blocks within the limit; all blocks when the last block is larger than the limit. */
  #endOf(blocks: Buffer): Buffer {
    const start = firstBlockEnd(blocks, blocks.length - this.#limit)
    if (start === -1 || start === blocks.length) return blocks
    this.#hasDiscarded = true
    this.#empty()
    return blocks.subarray(start)
  }

  /** Makes the ring large enough, and discards the oldest blocks where it may not grow. */
  #makeRoom(length: number): void {
    const room = this.#ring.length
    const isOneBlock = length > this.#limit
    if (isOneBlock || room > this.#limit) {
      // Only one block may make the ring larger than the limit.
      if (!isOneBlock) this.#ring = Buffer.allocUnsafeSlow(this.#limit)
      else if (room < length || room > 2 * length) this.#ring = Buffer.allocUnsafeSlow(length)
      this.#discardAll()
      return
    }
    if (this.#size + length <= room) return
    if (room < this.#limit) this.#grow(length)
    if (this.#size + length <= this.#ring.length) return
    if (length === this.#ring.length) this.#discardAll()
    else {
      this.#hasDiscarded = true
      this.#isCut = true
      this.#size = this.#ring.length - length
    }
  }

  /** The ring doubles: a stream with few small events needs only a small one. Nothing was overwritten below the limit. */
  #grow(length: number): void {
    const grown = Buffer.allocUnsafeSlow(this.#roomFor(this.#size + length))
    grown.set(this.#ring.subarray(0, this.#size))
    this.#ring = grown
    this.#end = this.#size
  }

  #roomFor(size: number): number {
    return Math.min(this.#limit, Math.max(smallestRing, 2 * this.#ring.length, size))
  }

  #write(blocks: Buffer): void {
    const first = this.#ring.length - this.#end
    if (blocks.length < first) {
      this.#ring.set(blocks, this.#end)
      this.#end += blocks.length
    } else {
      blocks.copy(this.#ring, this.#end, 0, first)
      blocks.copy(this.#ring, 0, first)
      this.#end = blocks.length - first
    }
    this.#size += blocks.length
  }

  #inOrder(): Buffer {
    const start = this.#end - this.#size
    if (start >= 0) return this.#ring.subarray(start, this.#end)
    return Buffer.concat([this.#ring.subarray(start), this.#ring.subarray(0, this.#end)])
  }

  #discardAll(): void {
    if (this.#size > 0) this.#hasDiscarded = true
    this.#empty()
  }

  #empty(): void {
    this.#end = 0
    this.#size = 0
    this.#isCut = false
  }

  #closeText(): void {
    if (this.#text === '') return
    const bytes = Buffer.from(this.#text, 'latin1')
    this.#text = ''
    this.#ring = Buffer.allocUnsafeSlow(this.#roomFor(2 * bytes.length))
    this.#empty()
    this.#write(bytes)
  }
}

/** Where the first block ends that ends behind a place; -1 when no block ends. Lines may end with LF, CR or CRLF. */
function firstBlockEnd(bytes: Buffer, from: number): number {
  let lf = bytes.indexOf(LF, from)
  let cr = bytes.indexOf(CR, from)
  for (let lineStart = -1; lf !== -1 || cr !== -1; ) {
    const at = cr === -1 || (lf !== -1 && lf < cr) ? lf : cr
    const end = at === cr && bytes[at + 1] === LF ? at + 2 : at + 1
    if (at === lineStart) return end
    lineStart = end
    if (lf !== -1 && lf < end) lf = bytes.indexOf(LF, end)
    if (cr !== -1 && cr < end) cr = bytes.indexOf(CR, end)
  }
  return -1
}
