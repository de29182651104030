import { loadScanner, sliceAt, sliceSize } from './scanner.ts'

const LF = 10
const SPACE = 32
/** Fewer bytes behind a held block are copied to it: a run of their own would cost more. */
const leastLeft = 4096
/** The most room that is made for a block because the one before was as large. */
const mostGuessed = 131_072
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])
const nothing: Buffer = Buffer.alloc(0)

/** Bits of the scanner's state that are looked at here. */
const isAfterCr = 8
const hasId = 16
const isTooLarge = 32
const isInLine = 64
/** The scanner's name for an id line that stands in an earlier slice. */
const earlierLine = 1

/**
 * Finds where blocks end in the bytes of one connection, and what their lines begin with.
 *
 * What is passed on are whole blocks: no character, line or event is ever split, and a half-received event at a drop is
 * what {@link rest} returns. A comment in front of a block counts as a block of its own and is whole at its line's end,
 * since it may be a heartbeat without a blank line. A block is whole at the CR of its blank line; an LF that follows
 * ends the same run or begins the next one, which may be nothing but this LF.
 *
 * The bytes are scanned once, in slices, by the WebAssembly module of scanner.wat. Positions in fields count from the
 * start of the run that is being collected, whose first bytes may be held from earlier chunks.
 *
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream | HTML, 9.2.5}
 */
export class BlockScanner {
  /** How many blocks of the last run have data. */
  events = 0
  /** Where in the last run the value of its last id field starts; -1 when it has none. */
  idStart = -1
  /** Where that value ends. */
  idEnd = -1
  /**
   * Whether the last run has to be read by the parser and written anew. It has a reconnection time, which is meant for
   * us; a line end that is a lone CR, which not every client knows (a CR that ends a block and its chunk counts as half
   * of a CRLF); a last id with NUL, which is ignored (HTML, 9.2.6); or a byte order mark at its start, which a client
   * strips when these are the first bytes that it gets.
   */
  mustRead = false

  readonly #scanner = loadScanner()
  readonly #maxBlockSize: number
  #tooLarge = false
  /** How many bytes of a byte order mark the stream began with; undefined once that is settled. */
  #markSize: number | undefined = 0

  #chunk = nothing
  /** Where in the chunk the run begins, or goes on when it began in an earlier chunk. */
  #start = 0
  /** How much of the chunk has been scanned. */
  #scanned = 0
  /** The end of the whole blocks; 0 as long as there is none. */
  #whole = 0

  /** The run's first bytes, copied from earlier chunks: so many bytes of this. */
  #held = nothing
  #heldSize = 0
  /** How large the last one was: the next one may be the same. */
  #lastSize = 0

  /** The state in which the last slice ended; 0 in front of a block. */
  #state = 0
  /** Where the unfinished line starts, and its first bytes, at most 8: enough to know its name. */
  #lineStart = 0
  #headSize = 0
  #headLow = 0
  #headHigh = 0
  /** Where the last id line of the unfinished block starts and ends. */
  #idLineStart = 0
  #idLineEnd = 0

  /**
   * @param maxBlockSize - The most bytes that a block may have, its line ends included.
   * @throws `Error` where the platform has no WebAssembly.
   */
  constructor(maxBlockSize: number) {
    this.#maxBlockSize = Math.min(maxBlockSize, 2 ** 32 - 1)
  }

  /**
   * Whether a block was over the limit. Once {@link next} has returned undefined, all runs in front of that block have
   * been returned, and the scanner is of no further use.
   */
  get tooLarge(): boolean {
    return this.#tooLarge
  }

  /** Whether no block is unfinished, once {@link next} has returned undefined. */
  get isBetweenBlocks(): boolean {
    return this.#heldSize === 0
  }

  /** Takes the connection's next bytes. They must not change until {@link next} has returned undefined. */
  push(chunk: Buffer): void {
    this.#chunk = this.#markSize === undefined ? chunk : this.#skipMark(chunk, this.#markSize)
  }

  /**
   * The next run of whole blocks, in wire form: a view of the chunk, or a copy that belongs to the caller. Undefined
   * when no further block is whole; the rest of the chunk has then been copied.
   */
  next(): Buffer | undefined {
    this.events = 0
    this.idStart = -1
    this.idEnd = -1
    this.mustRead = false
    const { length } = this.#chunk
    while (this.#scanned < length && !this.#tooLarge) {
      // With a lot behind it, the held block is a run of its own, so that only its own end is copied.
      const isHeldAlone = this.#whole === 0 && this.#heldSize > 0 && length - this.#scanned >= leastLeft
      this.#scanSlice(isHeldAlone)
      if (isHeldAlone && this.#whole > 0 && length - this.#scanned >= leastLeft) break
    }
    if (this.#whole > 0) return this.#release()
    if (!this.#tooLarge) this.#hold()
    return undefined
  }

  /** The bytes of the block that is not whole yet. */
  rest(): Buffer {
    return this.#held.subarray(0, this.#heldSize)
  }

  /** @param once - Whether to stop where the first block ends. */
  #scanSlice(once: boolean): void {
    const { scan, slice, results } = this.#scanner
    const chunk = this.#chunk
    const from = this.#scanned
    const size = Math.min(chunk.length - from, sliceSize)
    slice.set(size === chunk.length ? chunk : chunk.subarray(from, from + size))
    // A block ended at the last slice's last byte, and that was a lone CR.
    if (this.#whole > 0 && this.#state === isAfterCr && chunk[from] !== LF) this.mustRead = true
    const position = this.#heldSize + from - this.#start
    const whole = scan(
      size,
      once ? 1 : 0,
      this.#state,
      position - this.#whole,
      this.#maxBlockSize,
      this.#headSize,
      this.#headLow,
      this.#headHigh,
    )
    // Turns a position in the module's memory into one in the run.
    const shift = position - sliceAt
    if (whole > 0) {
      this.#whole = whole + shift
      this.#noteWhole(results, shift)
    }
    this.#scanned = (results[4] ?? 0) + from - sliceAt
    const state = results[5] ?? 0
    if ((state & isTooLarge) !== 0) this.#tooLarge = true
    if ((state & hasId) !== 0) this.#noteUnfinishedId(results, shift)
    if ((state & isInLine) !== 0) this.#noteUnfinishedLine(results, shift)
    else if ((this.#state & isInLine) !== 0) this.#headSize = this.#headLow = this.#headHigh = 0
    this.#state = state
  }

  /** Notes what the whole blocks of a slice say. */
  #noteWhole(results: Int32Array, shift: number): void {
    this.events += results[0] ?? 0
    if (results[1] !== 0) this.mustRead = true
    const line = results[2] ?? 0
    if (line === 0) return
    if (line === earlierLine) {
      this.idStart = this.#idLineStart
      this.idEnd = this.#idLineEnd
    } else {
      this.idStart = line < sliceAt ? this.#lineStart : line + shift
      this.idEnd = (results[3] ?? 0) + shift
    }
  }

  #noteUnfinishedId(results: Int32Array, shift: number): void {
    const line = results[6] ?? 0
    if (line === earlierLine) return
    this.#idLineStart = line < sliceAt ? this.#lineStart : line + shift
    this.#idLineEnd = (results[7] ?? 0) + shift
  }

  #noteUnfinishedLine(results: Int32Array, shift: number): void {
    const line = results[8] ?? 0
    if (line >= sliceAt) this.#lineStart = line + shift
    this.#headSize = Math.min(8, (results[4] ?? 0) - line)
    this.#headLow = results[10] ?? 0
    this.#headHigh = results[11] ?? 0
  }

  /** Takes off the whole blocks, with what was held in front. */
  #release(): Buffer {
    const whole = this.#whole
    const end = whole - this.#heldSize + this.#start
    const isChunk = this.#start === 0 && end === this.#chunk.length
    const bytes = isChunk ? this.#chunk : this.#chunk.subarray(this.#start, end)
    const run = this.#heldSize === 0 ? bytes : this.#takeHeld(bytes)
    this.#start = end
    this.#whole = 0
    if (this.#state !== 0) this.#shiftUnfinished(whole)
    if (this.idStart >= 0) this.#findIdValue(run)
    if (run[0] === byteOrderMark[0] && run[1] === byteOrderMark[1] && run[2] === byteOrderMark[2]) {
      this.mustRead = true
    }
    return run
  }

  /** Counts the positions of the unfinished block from the start of the next run. */
  #shiftUnfinished(by: number): void {
    this.#lineStart = Math.max(0, this.#lineStart - by)
    this.#idLineStart = Math.max(0, this.#idLineStart - by)
    this.#idLineEnd = Math.max(0, this.#idLineEnd - by)
  }

  /** From the id's line to its value, without the one space that may stand in front of it. */
  #findIdValue(run: Buffer): void {
    // The line may be the name alone, without a colon.
    const start = Math.min(this.idStart + 'id:'.length, this.idEnd)
    this.idStart = run[start] === SPACE ? start + 1 : start
    for (let at = start; at < this.idEnd; at++) if (run[at] === 0) this.mustRead = true
  }

  /** Keeps a copy of the unfinished block, and lets go of the chunk. */
  #hold(): void {
    const size = this.#chunk.length - this.#start
    if (this.#heldSize + size > this.#maxBlockSize) this.#tooLarge = true
    else if (size > 0) this.#append(this.#start === 0 ? this.#chunk : this.#chunk.subarray(this.#start))
    this.#chunk = nothing
    this.#start = 0
    this.#scanned = 0
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

  #takeHeld(last: Buffer): Buffer {
    this.#append(last)
    const held = this.rest()
    this.#lastSize = this.#heldSize
    this.#held = nothing
    this.#heldSize = 0
    return held
  }

  /** Drops the one byte order mark that may stand at the stream's start, even when it comes byte by byte. */
  #skipMark(chunk: Buffer, seen: number): Buffer {
    let size = seen
    let at = 0
    while (size < byteOrderMark.length && at < chunk.length && chunk[at] === byteOrderMark[size]) {
      size++
      at++
    }
    const isMark = size === byteOrderMark.length
    // With the chunk at its end, the mark may go on in the next one.
    this.#markSize = isMark || at < chunk.length ? undefined : size
    if (isMark || at === chunk.length) return chunk.subarray(at)
    return seen === 0 ? chunk : Buffer.concat([byteOrderMark.subarray(0, seen), chunk])
  }
}
