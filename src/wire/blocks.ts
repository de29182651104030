import { skim } from './skim.ts'

const LF = 10
const CR = 13
const COLON = 58
const blankLine = Buffer.from('\n\n')
/** Less is not worth a run of its own. */
const leastLeft = 4096
/** The most room that is made for a block because the one before was as large. */
const mostGuessed = 131_072
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])
const nothing = Buffer.alloc(0)

/**
 * Cuts the bytes of one connection where blocks end, so that everything behind it deals with whole events only: no
 * character, line or event is ever split, and a half-received event at a drop is simply what is left in here.
 *
 * A comment in front of a block is passed on at its own line's end, since it may be a heartbeat with no blank line.
 *
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream | HTML, 9.2.5}
 */
export class BlockCutter {
  readonly #maxBlockSize: number
  /** The block that is not whole yet: so many bytes of this. They are copied as they come, while they are at hand. */
  #held = nothing
  #heldSize = 0
  /** How large the last one was: the next one may be the same. */
  #lastSize = 0
  /** How many bytes of a byte order mark the stream began with; undefined once that is settled. */
  #markSize: number | undefined = 0
  /** The next byte starts a line. */
  #atLineStart = true
  /** The block so far holds nothing but comments. */
  #blockEmpty = true
  /** The line so far is a comment in front of a block. */
  #inComment = false
  /** The last byte was a CR, so that a LF would belong to the same line end. */
  #afterCr = false
  /** Where the first block over the limit starts in the bytes that {@link #scan} was last given. */
  #tooLargeAt: number | undefined
  #tooLarge = false

  /** @param maxBlockSize - The most bytes that a block may have, its line ends included. */
  constructor(maxBlockSize: number) {
    this.#maxBlockSize = maxBlockSize
  }

  /**
   * Takes a chunk; returns the bytes of all blocks that are whole by now, in one or two runs of whole blocks, or in none.
   * They may be views of chunks. With a block over the limit they end in front of it.
   */
  cut(chunk: Buffer): Buffer[] {
    const bytes = this.#markSize === undefined ? chunk : this.#skipMark(chunk, this.#markSize)
    if (bytes.length === 0) return []
    if (this.#isWhole(bytes)) return [bytes]
    const plain = !this.#afterCr && !bytes.includes(CR)
    const endsHeld = plain ? this.#endOfHeld(bytes) : bytes.length
    const end = plain ? this.#scanLf(bytes) : this.#scan(bytes)
    if (end === 0) {
      this.#hold(bytes)
      return []
    }
    const runs = this.#release(bytes.subarray(0, end), endsHeld)
    for (const [n, run] of runs.entries()) {
      // Several blocks may be over the limit together, none alone.
      if (run.length <= this.#maxBlockSize) continue
      const cutter = new BlockCutter(this.#maxBlockSize)
      cutter.#scan(run)
      if (cutter.#tooLargeAt === undefined) continue
      this.#tooLarge = true
      return [...runs.slice(0, n), run.subarray(0, cutter.#tooLargeAt)]
    }
    this.#hold(bytes.subarray(end))
    return runs
  }

  get isBetweenBlocks(): boolean {
    return this.#heldSize === 0
  }

  /** Whether a block was over the limit; the cutter is of no use then. */
  get tooLarge(): boolean {
    return this.#tooLarge
  }

  /** The bytes of the block that is not whole yet. */
  rest(): Buffer {
    return this.#takeHeld()
  }

  /** Whether bytes start and end with a block, which most small chunks do; looks at few bytes. */
  #isWhole(bytes: Buffer): boolean {
    return (
      this.#heldSize === 0 &&
      this.#atLineStart &&
      this.#blockEmpty &&
      !this.#afterCr &&
      bytes[bytes.length - 1] === LF &&
      bytes[bytes.length - 2] === LF &&
      bytes.length <= this.#maxBlockSize
    )
  }

  /** Where the last whole block ends in bytes that hold no CR; looks at few bytes itself. */
  #scanLf(bytes: Buffer): number {
    const blank = bytes.lastIndexOf(blankLine)
    let end = blank === -1 ? 0 : blank + 2
    if (end === 0 && this.#atLineStart && bytes[0] === LF) end = 1
    if (end > 0) {
      this.#blockEmpty = true
      this.#inComment = false
    }
    for (let at = end; this.#blockEmpty && at < bytes.length; at = end) {
      // A line goes on from the chunk before only if no block ended in this one.
      if (at > 0 || this.#atLineStart) this.#inComment = bytes[at] === COLON
      if (!this.#inComment) {
        this.#blockEmpty = false
        break
      }
      const lineEnd = bytes.indexOf(LF, at)
      if (lineEnd === -1) break
      end = lineEnd + 1
      this.#inComment = false
    }
    this.#atLineStart = bytes[bytes.length - 1] === LF
    return end
  }

  /** The same for any line ends: byte by byte. */
  #scan(bytes: Buffer): number {
    let end = 0
    this.#tooLargeAt = undefined
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]
      if (byte === LF && this.#afterCr) {
        this.#afterCr = false
        // The second half of the line end at which a block ended, or a harmless blank line of its own.
        if (this.#blockEmpty) end = at + 1
        continue
      }
      this.#afterCr = byte === CR
      if (byte === LF || byte === CR) {
        if (this.#atLineStart) this.#blockEmpty = true
        if (this.#blockEmpty) {
          if (at + 1 - end > this.#maxBlockSize) this.#tooLargeAt ??= end
          end = at + 1
        }
        this.#atLineStart = true
        this.#inComment = false
      } else if (this.#atLineStart) {
        this.#atLineStart = false
        this.#inComment = this.#blockEmpty && byte === COLON
        if (!this.#inComment) this.#blockEmpty = false
      }
    }
    return end
  }

  /** Drops the one byte order mark that may stand at the stream's start, even when it comes byte by byte. */
  #skipMark(chunk: Buffer, seen: number): Buffer {
    let size = seen
    let at = 0
    while (size < byteOrderMark.length && at < chunk.length && chunk[at] === byteOrderMark[size]) {
      size++
      at++
    }
    if (size === byteOrderMark.length) {
      this.#markSize = undefined
      return chunk.subarray(at)
    }
    if (at === chunk.length) {
      this.#markSize = size
      return chunk.subarray(at)
    }
    this.#markSize = undefined
    return seen === 0 ? chunk : Buffer.concat([byteOrderMark.subarray(0, seen), chunk])
  }

  #hold(bytes: Buffer): void {
    if (this.#heldSize + bytes.length > this.#maxBlockSize) this.#tooLarge = true
    else if (bytes.length > 0) this.#append(bytes)
  }

  #append(bytes: Buffer): void {
    const size = this.#heldSize + bytes.length
    if (size > this.#held.length) {
      const guess = this.#heldSize === 0 ? Math.min(this.#lastSize, mostGuessed) : 2 * this.#held.length
      const grown = Buffer.allocUnsafe(Math.max(size, guess))
      this.#held.copy(grown, 0, 0, this.#heldSize)
      this.#held = grown
    }
    this.#held.set(bytes, this.#heldSize)
    this.#heldSize = size
  }

  #takeHeld(): Buffer {
    const held = this.#held.subarray(0, this.#heldSize)
    this.#lastSize = this.#heldSize
    this.#held = nothing
    this.#heldSize = 0
    return held
  }

  /** Where the block that is held ends in bytes that hold no CR, as far as a blank line says so. */
  #endOfHeld(bytes: Buffer): number {
    if (this.#heldSize === 0) return 0
    if (this.#atLineStart && bytes[0] === LF) return 1
    const blank = bytes.indexOf(blankLine)
    return blank === -1 ? bytes.length : blank + 2
  }

  /** Whole blocks, with what was held in front. A lot behind the held block is left where it is. */
  #release(bytes: Buffer, endOfHeld: number): Buffer[] {
    if (this.#heldSize === 0) return [bytes]
    const isLot = bytes.length - endOfHeld >= leastLeft
    this.#append(isLot ? bytes.subarray(0, endOfHeld) : bytes)
    return isLot ? [this.#takeHeld(), bytes.subarray(endOfHeld)] : [this.#takeHeld()]
  }
}

export class BlockScanner {
  events = 0
  idStart = -1
  idEnd = -1
  mustRead = false
  readonly #cutter: BlockCutter
  #runs: Buffer[] = []
  constructor(maxBlockSize: number) {
    this.#cutter = new BlockCutter(maxBlockSize)
  }
  get tooLarge(): boolean {
    return this.#cutter.tooLarge
  }
  get isBetweenBlocks(): boolean {
    return this.#cutter.isBetweenBlocks
  }
  push(chunk: Buffer): void {
    this.#runs = this.#cutter.cut(chunk)
  }
  next(): Buffer | undefined {
    const run = this.#runs.shift()
    if (run === undefined) return undefined
    const skimmed = skim(run)
    this.mustRead = skimmed === undefined
    this.events = skimmed?.events ?? 0
    this.idStart = skimmed && skimmed.idStart > 0 ? skimmed.idStart : -1
    this.idEnd = skimmed && skimmed.idStart > 0 ? skimmed.idEnd : -1
    return run
  }
  rest(): Buffer {
    return this.#cutter.rest()
  }
}
