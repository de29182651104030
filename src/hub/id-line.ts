import { formatId } from './position-id.ts'

const LF = 10
const zero = 48
const nine = 57
const slash = 47

/** V8 has so few bytes on its heap, in the array itself. */
const usualRoom = 64

/** The most bytes that a byte of an upstream's id becomes: a wrong one is replaced by three bytes, and each of them percent-encoded. */
const mostEncoded = 9

/** The most bytes that come with an upstream's id, and one more digit. */
const mostAround = 3

/**
 * The line with the id of one event after another, in bytes: a text for each event, and its conversion, would cost more than all else
 * that is done for a small event.
 */
export class IdLine {
  /** The bytes of the line, and room behind them. */
  #bytes: Buffer
  /** Where the digits of the `seq` start, and what follows them. */
  readonly #seqStart: number
  #seqEnd: number
  #size = 0
  #seq = 0
  #cursor: string | undefined
  /** Whether the cursor is in the line alone, as it is written there. */
  #isUnread = false

  /** @param cursor - Where the upstream was resumed; undefined when unknown. */
  constructor(epoch: number, cursor: string | undefined) {
    this.#bytes = Buffer.alloc(usualRoom)
    this.#seqStart = this.#bytes.write(`id: ${epoch}-`)
    this.#bytes[this.#seqStart] = zero
    this.#seqEnd = this.#seqStart + 1
    this.#write(cursor)
  }

  /** The `seq` in the line; 0 before the first event. */
  get seq(): number {
    return this.#seq
  }

  /** The place of the upstream in the line; undefined without one. */
  get cursor(): string | undefined {
    if (this.#isUnread) {
      this.#cursor = this.#bytes.toString('latin1', this.#seqEnd + 1, this.#size - 1)
      this.#isUnread = false
    }
    return this.#cursor
  }

  get size(): number {
    return this.#size
  }

  /** The most bytes of the next event's line, if its upstream's id has so many bytes. */
  mostWith(idSize: number): number {
    return this.#seqEnd + idSize * mostEncoded + mostAround + 1
  }

  /** Makes it the line of the next event. */
  next(): void {
    this.#seq++
    const bytes = this.#bytes
    let at = this.#seqEnd - 1
    for (; at >= this.#seqStart && bytes[at] === nine; at--) bytes[at] = zero
    if (at >= this.#seqStart) bytes[at] = (bytes[at] ?? zero) + 1
    else this.#addDigit()
  }

  /** Takes the value of the upstream's `id` field as its place: the bytes from `start` to `end`, without NUL. */
  follow(bytes: Buffer, start: number, end: number): void {
    if (!isPlain(bytes, start, end)) {
      this.#write(bytes.toString('utf8', start, end) || undefined)
      return
    }
    let at = this.#makeRoom(1 + end - start)
    const line = this.#bytes
    line[at++] = slash
    for (let from = start; from < end; from++) line[at++] = bytes[from] ?? 0
    this.#close(at)
    this.#isUnread = true
  }

  /** @returns Where the copy ends. */
  copyTo(target: Buffer, start: number): number {
    const bytes = this.#bytes
    const size = this.#size
    for (let at = 0; at < size; at++) target[start + at] = bytes[at] ?? 0
    return start + size
  }

  /** After 9, 99 and so on, whose digits are 0 now. */
  #addDigit(): void {
    const { cursor } = this
    this.#makeRoom(1)
    this.#bytes[this.#seqStart] = zero + 1
    this.#bytes[this.#seqEnd++] = zero
    this.#write(cursor)
  }

  #write(cursor: string | undefined): void {
    this.#cursor = cursor
    this.#isUnread = false
    const suffix = Buffer.from(formatId({ epoch: 1, seq: 0 }, cursor).slice('1-0'.length))
    const at = this.#makeRoom(suffix.length)
    this.#bytes.set(suffix, at)
    this.#close(at + suffix.length)
  }

  /** @returns Where the digits end. Behind them there is room for so many bytes and the end of the line. */
  #makeRoom(size: number): number {
    const end = this.#seqEnd
    if (end + size >= this.#bytes.length) {
      const grown = Buffer.alloc(2 * (end + size + 1))
      grown.set(this.#bytes.subarray(0, end))
      this.#bytes = grown
    }
    return end
  }

  #close(end: number): void {
    this.#bytes[end] = LF
    this.#size = end + 1
  }
}

/** Whether an id is written as it is: printable ASCII, as nearly every id. */
function isPlain(bytes: Buffer, start: number, end: number): boolean {
  if (start === end || bytes[start] === slash) return false
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0
    if (byte < 0x21 || byte > 0x7e) return false
  }
  return true
}
