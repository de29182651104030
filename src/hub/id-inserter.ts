import { memoryForMany } from '../http/shared-chunk.ts'
import type { Piece } from './batch.ts'
import { IdLine } from './id-line.ts'

const LF = 10
const CR = 13
const COLON = 58
const SPACE = 32
/** Bytes of a line that are looked at one by one: a call of `indexOf` costs as much as about 100 of them. */
const shortLine = 128

const nothing: Buffer = Buffer.alloc(0)

/**
 * Gives events their ids without parsing them: the hub's `id` line comes first, in the place of the upstream's, and all other
 * lines stay as the upstream has sent them. Comments and blocks without data are left out, and line ends become LF, so that each
 * event has one blank line, which is its end.
 */
export class IdInserter {
  /** The most bytes of a piece, unless one event is larger. */
  readonly #most: number
  /** That of the latest event. */
  readonly #line: IdLine
  #pieces: Piece[] = []
  /** The `seq` of the first event that is not in a piece. */
  #first = 1
  /** The bytes of the events that are not in a piece. */
  #used = 0
  /** The place of the upstream after these events, where the line is already another one's. */
  #cursor: string | undefined
  #isPast = false

  /**
   * @param cursor - Where the upstream was resumed; undefined when unknown.
   * @param most - The most bytes of a piece, unless one event is larger.
   */
  constructor(epoch: number, cursor: string | undefined, most: number) {
    this.#line = new IdLine(epoch, cursor)
    this.#most = most
  }

  /**
   * @param bytes - Whole blocks, whose line ends are LF or CRLF. The caller may change the buffer afterwards.
   * @returns The events among them; empty when no block has data.
   */
  insert(bytes: Buffer): Piece[] {
    const buffer = sharedBuffer(this.#most)
    block.start(bytes)
    while (block.next()) {
      if (block.idStart >= 0) this.#follow(bytes)
      if (block.hasData) this.#add(buffer)
    }
    this.#finish(buffer, this.#line.seq)
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }

  /** Takes the upstream's id of the block. */
  #follow(bytes: Buffer): void {
    const { idStart, idEnd, hasData, size } = block
    const line = this.#line
    const most = this.#used + size + line.mostWith(idEnd - idStart)
    // The place after the events so far would have to be read for every event: it is, where they may become a piece.
    if (this.#used > 0 && !this.#isPast && (!hasData || most > this.#most)) {
      this.#cursor = line.cursor
      this.#isPast = true
    }
    line.follow(bytes, idStart, idEnd)
  }

  #add(buffer: Buffer): void {
    const line = this.#line
    line.next()
    const size = line.size + block.size
    if (this.#used + size > this.#most) this.#finish(buffer, line.seq - 1)
    this.#isPast = false
    if (size > this.#most) {
      const own = memoryForMany(size)
      block.copyTo(own, line.copyTo(own, 0))
      this.#push(own, line.seq)
    } else {
      this.#used = block.copyTo(buffer, line.copyTo(buffer, this.#used))
    }
  }

  /** @param last - The `seq` of the last event in the buffer. */
  #finish(buffer: Buffer, last: number): void {
    const used = this.#used
    if (used === 0) return
    const bytes = memoryForMany(used)
    buffer.copy(bytes, 0, 0, used)
    this.#used = 0
    this.#push(bytes, last)
  }

  #push(bytes: Buffer, last: number): void {
    const cursor = this.#isPast ? this.#cursor : this.#line.cursor
    this.#pieces.push({ bytes, first: this.#first, last, cursor })
    this.#first = last + 1
  }
}

/** Pieces are put together here, for one stream after another. */
let shared = nothing

function sharedBuffer(size: number): Buffer {
  if (shared.length < size) shared = Buffer.allocUnsafeSlow(size)
  return shared
}

/** The blocks of a buffer, one after another: what each of them has, and which of its bytes are kept. */
class Block {
  hasData = false
  /** Where the value of the last `id` field without NUL starts and ends; -1 without one. */
  idStart = -1
  idEnd = -1
  /** The bytes that are kept, and the blank line. */
  size = 0
  #bytes = nothing
  #at = 0
  /** A place before which there is no further CR: that of the next one, or the end of the bytes. */
  #cr = 0
  /** The start and the end of each part that is kept. A part ends before a line end, which is written as LF. */
  readonly #parts: number[] = []
  #count = 0

  start(bytes: Buffer): void {
    this.#bytes = bytes
    this.#at = 0
    this.#cr = 0
  }

  /**
   * Reads up to the next blank line.
   *
   * @returns False after the last block.
   */
  next(): boolean {
    const bytes = this.#bytes
    this.hasData = false
    this.idStart = -1
    this.size = 1
    this.#count = 0
    while (this.#at < bytes.length) {
      const start = this.#at
      const end = this.#lineEnd(start)
      this.#at = bytes[end] === CR && bytes[end + 1] === LF ? end + 2 : end + 1
      if (end === start) return true
      this.#readLine(start, end)
    }
    this.#bytes = nothing
    return false
  }

  /** @returns Where the copy ends. */
  copyTo(target: Buffer, start: number): number {
    let at = start
    for (let index = 0; index < this.#count; index += 2) {
      at += this.#bytes.copy(target, at, this.#parts[index], this.#parts[index + 1])
      target[at++] = LF
    }
    target[at++] = LF
    return at
  }

  #readLine(start: number, end: number): void {
    const bytes = this.#bytes
    const first = bytes[start]
    if (first === COLON) return
    if (first === 105 && bytes[start + 1] === 100 && isNameEnd(bytes, start + 2, end)) {
      this.#readId(start + 3, end)
      return
    }
    if (first === 100 && isNameEnd(bytes, start + 4, end)) {
      this.hasData ||= bytes[start + 1] === 97 && bytes[start + 2] === 116 && bytes[start + 3] === 97
    }
    this.#keep(start, end)
  }

  #readId(start: number, end: number): void {
    const bytes = this.#bytes
    const from = bytes[start] === SPACE ? start + 1 : start
    // An id with NUL is ignored (HTML, 9.2.6).
    for (let at = from; at < end; at++) if (bytes[at] === 0) return
    this.idStart = Math.min(from, end)
    this.idEnd = end
  }

  #keep(start: number, end: number): void {
    this.size += end - start + 1
    // With only an LF in between, two lines are one part.
    if (this.#count > 0 && this.#parts[this.#count - 1] === start - 1) this.#parts[this.#count - 1] = end
    else {
      this.#parts[this.#count++] = start
      this.#parts[this.#count++] = end
    }
  }

  #lineEnd(start: number): number {
    const bytes = this.#bytes
    const near = Math.min(start + shortLine, bytes.length)
    for (let at = start; at < near; at++) if (bytes[at] === LF || bytes[at] === CR) return at
    if (this.#cr < near) this.#cr = indexOrEnd(bytes, CR, near)
    return Math.min(indexOrEnd(bytes, LF, near), this.#cr)
  }
}

/** Whether the name of a field ends here: at a colon, or with the line. */
function isNameEnd(bytes: Buffer, at: number, lineEnd: number): boolean {
  return at === lineEnd || (at < lineEnd && bytes[at] === COLON)
}

function indexOrEnd(bytes: Buffer, byte: number, from: number): number {
  const at = bytes.indexOf(byte, from)
  return at === -1 ? bytes.length : at
}

/** That of all streams: each call reads its bytes to their end, and a stream's own would not be in the caches of the processor. */
const block = new Block()
