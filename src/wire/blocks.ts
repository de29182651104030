import { blockMemory } from './block-memory.ts'
import { loadScanner, sliceAt, sliceSize } from './scanner.ts'

const LF = 10
const SPACE = 32
/** Fewer bytes after a held block are copied and returned with it: returning a separate run would cost more. */
const leastLeft = 4096
/** The largest buffer that is allocated because the previous held block was as large. */
const mostGuessed = 131_072
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])
const nothing: Buffer = Buffer.alloc(0)

/** Bits of the scanner's state, see scanner.wat. */
const isAfterCr = 8
const hasId = 16
const isTooLarge = 32
const isInLine = 64
/** The scanner's position of an id line that is in an earlier slice. */
const earlierLine = 1

/**
 * Finds where blocks end in the bytes of one connection, and which fields they have.
 *
 * Runs consist of whole blocks: no character, line or event is split; {@link rest} returns an event that a drop has cut. A
 * comment before a block is a block of its own and ends with its line, because it may be a heartbeat without a blank line.
 * A block ends at the CR of its blank line; an LF after the CR ends the same run or starts the next one, which may consist
 * of this LF alone.
 *
 * The WebAssembly module of scanner.wat scans the bytes once, in slices. Positions count from the start of the current run,
 * whose first bytes may be held from earlier chunks.
 *
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream | HTML, 9.2.5}
 */
export class BlockScanner {
  /** The number of blocks with data in the latest run. */
  events = 0
  /** Where the value of the latest run's last id field starts; -1 without an id field. */
  idStart = -1
  /** Where the value of the latest run's last id field ends. */
  idEnd = -1
  /**
   * Whether the latest run must be parsed and serialized again, because it has:
   *
   * - a reconnection time, which is for this library and not for its clients;
   * - a lone CR as a line end, which some clients do not support (a CR at the end of a block and of its chunk is taken for
   *   the first half of a CRLF);
   * - a last id with NUL, which is ignored (HTML, 9.2.6);
   * - a byte order mark at its start, which a client would strip from the first bytes that it receives.
   */
  mustRead = false

  readonly #scanner = loadScanner()
  readonly #maxBlockSize: number
  #tooLarge = false
  /** Bytes of a byte order mark found at the stream's start; undefined once the start is known. */
  #markSize: number | undefined = 0

  #chunk = nothing
  /** Where the current run's bytes start in the chunk. */
  #start = 0
  /** How many bytes of the chunk were scanned. */
  #scanned = 0
  /** Where the current run's whole blocks end; 0 without a whole block. */
  #whole = 0

  /** A buffer whose first `#heldSize` bytes are the current run's bytes from earlier chunks. */
  #held = nothing
  #heldSize = 0
  /** The buffer of the latest run, which the caller still uses. */
  #lent = nothing
  /** The size of the previous held run, as a guess for the next. */
  #lastSize = 0

  /** The scanner's state at the end of the latest slice; 0 between blocks. */
  #state = 0
  /** Where the unfinished line starts, and its first bytes, at most 8: enough for the longest field name. */
  #lineStart = 0
  #headSize = 0
  #headLow = 0
  #headHigh = 0
  /** Where the unfinished block's last id line starts and ends. */
  #idLineStart = 0
  #idLineEnd = 0

  /**
   * @param maxBlockSize - The most bytes of a block, including its line ends.
   * @throws `Error` when the platform has no WebAssembly.
   */
  constructor(maxBlockSize: number) {
    this.#maxBlockSize = Math.min(maxBlockSize, 2 ** 32 - 1)
  }

  /**
   * Whether a block was over the limit. Check this after {@link next} has returned undefined: all blocks before the large
   * block were then returned, and the scanner must no longer be used.
   */
  get tooLarge(): boolean {
    return this.#tooLarge
  }

  /** Whether the bytes end with a whole block. Valid after {@link next} has returned undefined. */
  get isBetweenBlocks(): boolean {
    return this.#heldSize === 0
  }

  /** Adds the connection's next bytes. The bytes must not change until {@link next} has returned undefined. */
  push(chunk: Buffer): void {
    this.#chunk = this.#markSize === undefined ? chunk : this.#skipMark(chunk, this.#markSize)
  }

  /**
   * Returns the next run of whole blocks, in wire form: a view of the chunk, or of a buffer that is used again after the next
   * call. Undefined without a further whole block; the rest of the chunk has then been copied.
   */
  next(): Buffer | undefined {
    if (this.#lent !== nothing) this.#takeBack()
    this.events = 0
    this.idStart = -1
    this.idEnd = -1
    this.mustRead = false
    const { length } = this.#chunk
    while (this.#scanned < length && !this.#tooLarge) {
      // With many bytes after it, the held block becomes a run of its own, so that only its own end is copied.
      const isHeldAlone = this.#whole === 0 && this.#heldSize > 0 && length - this.#scanned >= leastLeft
      this.#scanSlice(isHeldAlone)
      if (isHeldAlone && this.#whole > 0 && length - this.#scanned >= leastLeft) break
    }
    if (this.#whole > 0) return this.#release()
    if (!this.#tooLarge) this.#hold()
    return undefined
  }

  /** The bytes of the unfinished block. */
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
    // The previous slice ended with a block and a CR, and that CR is a lone CR.
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
    // Converts a position in the module's memory to a position in the run.
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

  /** Stores the results for the whole blocks of a slice. */
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

  /** Returns the whole blocks as a run, including the held bytes. */
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

  /** Makes the positions of the unfinished block relative to the start of the next run. */
  #shiftUnfinished(by: number): void {
    this.#lineStart = Math.max(0, this.#lineStart - by)
    this.#idLineStart = Math.max(0, this.#idLineStart - by)
    this.#idLineEnd = Math.max(0, this.#idLineEnd - by)
  }

  /** Moves `idStart` from the id's line to its value, after one optional space. */
  #findIdValue(run: Buffer): void {
    // The line may be the name without a colon.
    const start = Math.min(this.idStart + 'id:'.length, this.idEnd)
    this.idStart = run[start] === SPACE ? start + 1 : start
    for (let at = start; at < this.idEnd; at++) if (run[at] === 0) this.mustRead = true
  }

  /** Copies the unfinished block and releases the chunk. */
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
      const grown = blockMemory.take(Math.max(size, guess))
      this.#held.copy(grown, 0, 0, this.#heldSize)
      blockMemory.give(this.#held)
      this.#held = grown
    }
    this.#held.set(bytes, this.#heldSize)
    this.#heldSize = size
  }

  #takeHeld(last: Buffer): Buffer {
    this.#append(last)
    const run = this.rest()
    this.#lastSize = this.#heldSize
    this.#lent = this.#held
    this.#held = nothing
    this.#heldSize = 0
    return run
  }

  #takeBack(): void {
    blockMemory.give(this.#lent)
    this.#lent = nothing
  }

  /** Drops one byte order mark at the stream's start (HTML, 9.2.5), even if it arrives byte by byte. */
  #skipMark(chunk: Buffer, seen: number): Buffer {
    let size = seen
    let at = 0
    while (size < byteOrderMark.length && at < chunk.length && chunk[at] === byteOrderMark[size]) {
      size++
      at++
    }
    const isMark = size === byteOrderMark.length
    // At the end of the chunk, the mark may continue in the next chunk.
    this.#markSize = isMark || at < chunk.length ? undefined : size
    if (isMark || at === chunk.length) return chunk.subarray(at)
    return seen === 0 ? chunk : Buffer.concat([byteOrderMark.subarray(0, seen), chunk])
  }
}
