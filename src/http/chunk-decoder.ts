const CR = 13
const LF = 10
const ZERO = 48
/** Sizes with more digits are left to node:http. */
const mostDigits = 7

/**
 * Decodes the chunked coding (RFC 9112, 7.1) of a response, as far as it consists of plain chunks: a size of one to seven
 * digits, a line end, data, a line end. It stops at everything else, such as the last chunk, an extension, or a malformed
 * byte. Then node:http goes on from {@link resumeBytes}, as if it had decoded all of the body.
 */
export class ChunkDecoder {
  /** The bytes of the chunk's data that are still to come. */
  #left = 0
  #size = 0
  #digits = 0
  #expects: 'size' | 'LF after size' | 'data' | 'CR after data' | 'LF after data' = 'size'
  #dataEnd = 0

  /** Where the data ends that the latest call of {@link decode} has found; it starts where the bytes start. */
  get dataEnd(): number {
    return this.#dataEnd
  }

  /**
   * Decodes bytes in place: moves the data of all chunks together, to the start of the bytes.
   *
   * @returns Where decoding has stopped: at `end`, or at a byte that the decoder does not understand.
   */
  decode(bytes: Buffer, start: number, end: number): number {
    let at = start
    let to = start
    while (at < end) {
      if (this.#expects === 'data') {
        const size = Math.min(this.#left, end - at)
        if (to !== at) bytes.copyWithin(to, at, at + size)
        to += size
        at += size
        this.#left -= size
        if (this.#left === 0) this.#expects = 'CR after data'
      } else if (this.#takes(bytes[at] ?? 0)) {
        at++
      } else {
        break
      }
    }
    this.#dataEnd = to
    return at
  }

  /**
   * The bytes that bring node:http's parser, which is between two chunks, to where decoding has stopped. They hold one byte of
   * data if {@link hasReplayedData}.
   */
  get resumeBytes(): Buffer {
    if (this.#expects === 'CR after data') return Buffer.from('1\r\nx')
    if (this.#expects === 'LF after data') return Buffer.from('1\r\nx\r')
    const size = this.#digits === 0 ? '' : this.#size.toString(16).padStart(this.#digits, '0')
    return Buffer.from(this.#expects === 'size' ? size : `${size}\r`)
  }

  /** Whether the data in {@link resumeBytes} stands for data that was decoded before. */
  get hasReplayedData(): boolean {
    return this.#expects === 'CR after data' || this.#expects === 'LF after data'
  }

  /** Takes one byte of the framing. @returns Whether the byte is understood. */
  #takes(byte: number): boolean {
    switch (this.#expects) {
      case 'size':
        return this.#takesSize(byte)
      case 'LF after size':
        if (byte !== LF) return false
        this.#left = this.#size
        this.#size = 0
        this.#digits = 0
        this.#expects = 'data'
        return true
      case 'CR after data':
        if (byte !== CR) return false
        this.#expects = 'LF after data'
        return true
      default:
        if (byte !== LF) return false
        this.#expects = 'size'
        return true
    }
  }

  #takesSize(byte: number): boolean {
    if (byte === CR) {
      // A size of 0 is that of the last chunk.
      if (this.#size === 0) return false
      this.#expects = 'LF after size'
      return true
    }
    const digit = digitOf(byte)
    if (digit === -1 || this.#digits === mostDigits) return false
    this.#size = this.#size * 16 + digit
    this.#digits++
    return true
  }
}

/** The value of a hexadecimal digit, or -1. */
function digitOf(byte: number): number {
  if (byte >= ZERO && byte <= ZERO + 9) return byte - ZERO
  const lower = byte | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}
