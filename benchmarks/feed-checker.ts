import { sentAtOf, tailIdOf } from './wire.ts'

const COLON = 58
const LF = 10
const BRACE = 123
const blankLine = '\n\n'

/**
 * Checks that the events of a shared stream arrive once each, in order, and whole, from any event on. Their ids, and blocks
 * without data, are the relay's own.
 */
export class FeedChecker {
  /** The number of the latest whole event; 0 before the first. */
  last = 0
  /** The `id` of the first event; undefined without one. */
  firstId: string | undefined
  readonly #dataSize: number
  readonly #onSent: ((sentAt: number) => void) | undefined
  #rest: Buffer | undefined

  /**
   * @param dataSize - Bytes of each event's data.
   * @param onSent - Called for each event with the time at which it was sent; only where events hold it.
   */
  constructor(dataSize: number, onSent?: (sentAt: number) => void) {
    this.#dataSize = dataSize
    this.#onSent = onSent
  }

  /** @returns how many events became whole. */
  read(chunk: Buffer): number {
    const bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk
    let count = 0
    let at = 0
    for (;;) {
      // A comment has no blank line.
      while (bytes[at] === COLON && bytes[at + 1] === LF) at += 2
      const end = bytes.indexOf(blankLine, at)
      if (end === -1) break
      if (this.#check(bytes, at, end + 2)) count++
      at = end + 2
    }
    this.#rest = at < bytes.length ? bytes.subarray(at) : undefined
    return count
  }

  /** @returns whether the block is an event. */
  #check(bytes: Buffer, start: number, end: number): boolean {
    const data = end - 2 - this.#dataSize
    const isWhole = data > start && bytes[data] === BRACE
    if (!isWhole && !bytes.subarray(start, end).includes('data:')) return false
    const number = tailIdOf(bytes, end)
    if (isWhole && number > 0 && (this.last === 0 || number === this.last + 1)) {
      if (this.last === 0) this.firstId = idIn(bytes.toString('latin1', start, data))
      this.last = number
      this.#onSent?.(sentAtOf(bytes, end))
      return true
    }
    const seen = bytes.toString('latin1', start, Math.min(end, start + 100))
    throw new Error(`expected event ${this.last + 1}, got ${JSON.stringify(seen)}`)
  }
}

function idIn(head: string): string | undefined {
  return /^id: ?(.*)$/m.exec(head)?.[1]
}
