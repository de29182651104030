import { FingerprintSet } from './fingerprint-set.ts'

/** V8 stores an array of up to eight numbers in its own heap. Memory outside of it takes five times as long to allocate. */
const initialCapacity = 8
/** Shorter texts are read without a copy. */
const leastCopied = 24
/** How many code units are copied at a time; even, because two of them are one block. */
const pieceSize = 2048
const piece = Buffer.allocUnsafeSlow(2 * pieceSize)
const blocksOfPiece = new Int32Array(piece.buffer)
const noFingerprints = new Float64Array(0)

/** The largest window, of 64 MiB. A Map, which indexes the window of a tracker that always looks for repeats, holds at most 2²⁴ entries. */
export const largestWindow = 2 ** 23

/**
 * The fingerprints of the latest events, 8 bytes each, with an index that exists only while repeats are looked for.
 */
export class FingerprintWindow {
  readonly #size: number
  /** A ring buffer: the fingerprint of event n is at index n modulo the capacity. */
  #ring = noFingerprints
  #remembered = 0
  /** The window while repeats are always looked for: maps a fingerprint to the number of its latest event. */
  #index: Map<number, number> | undefined
  /** The events that may repeat while repeats are looked for on one connection; see {@link lookUpOnce}. */
  #repeatable: FingerprintSet | undefined
  /** The first event that counts: events that were not added followed the earlier ones. */
  #oldest = 0

  /** @param size - How many of the latest events the window holds. */
  constructor(size: number) {
    this.#size = size
  }

  get isEmpty(): boolean {
    return this.#remembered === 0
  }

  has(fingerprint: number): boolean {
    return this.#repeatable?.has(fingerprint) ?? this.#index?.has(fingerprint) ?? false
  }

  add(fingerprint: number): void {
    if (this.#remembered === this.#ring.length && this.#ring.length < this.#size) this.#grow()
    this.#repeatable?.add(fingerprint)
    if (this.#index) {
      this.#forget(this.#remembered - this.#size)
      this.#index.set(fingerprint, this.#remembered)
    }
    this.#ring[this.#remembered % this.#ring.length] = fingerprint
    this.#remembered++
  }

  /** Keeps an index of the window, which follows the window from now on. */
  lookUpAlways(): void {
    const index = new Map<number, number>()
    for (const [fingerprint, n] of this.#current()) index.set(fingerprint, n)
    this.#index = index
  }

  /**
   * Looks for repeats of the current window until {@link stopLookUps}. Events do not leave the set: in a replay that is slightly
   * longer than the window, each event would otherwise remove the next event just before that event repeats.
   */
  lookUpOnce(): void {
    this.#index = undefined
    const repeatable = new FingerprintSet(Math.min(this.#size, this.#remembered - this.#oldest))
    for (const [fingerprint] of this.#current()) repeatable.add(fingerprint)
    this.#repeatable = repeatable
  }

  stopLookUps(): void {
    this.#index = undefined
    this.#repeatable = undefined
  }

  /** Reports that events were passed on without being added: the events before them no longer count. */
  skip(): void {
    this.#oldest = this.#remembered
  }

  #forget(n: number): void {
    if (n < 0) return
    const fingerprint = this.#ring[n % this.#ring.length]
    if (fingerprint !== undefined && this.#index?.get(fingerprint) === n) this.#index.delete(fingerprint)
  }

  /** The ring wraps only at its full size, so a smaller ring is in the order of the events and can be copied as it is. */
  #grow(): void {
    const capacity = Math.max(initialCapacity, this.#ring.length * 2)
    const grown = new Float64Array(Math.min(this.#size, capacity))
    grown.set(this.#ring)
    this.#ring = grown
  }

  /** The fingerprints of the window with the numbers of their events, from the oldest on. */
  *#current(): Generator<[fingerprint: number, n: number]> {
    for (let n = Math.max(this.#oldest, this.#remembered - this.#size); n < this.#remembered; n++) {
      const fingerprint = this.#ring[n % this.#ring.length]
      if (fingerprint !== undefined) yield [fingerprint, n]
    }
  }
}

/**
 * A 53-bit hash of some texts, as a number: MurmurHash3 (x86, 32 bits) with two seeds. The finaliser changes each output
 * bit with a probability near one half for each changed input bit, so that ids which differ in one high bit do not
 * collide. The length is hashed after each part, so that `['ab', 'c']` and `['a', 'bc']` differ.
 */
export function fingerprintOf(parts: readonly string[]): number {
  let a = 0x9747b28c
  let b = 0x3c6ef372
  let length = 0
  for (const part of parts) {
    length += part.length
    for (let from = 0; from < part.length; from += pieceSize) {
      const count = copyBlocks(part, from)
      for (let i = 0; i < count; i++) {
        const block = blocksOfPiece[i] ?? 0
        a = mixed(a, block)
        b = mixed(b, block)
      }
    }
    a = mixed(a, part.length)
    b = mixed(b, part.length)
  }
  return finalised(a ^ length) * 0x200000 + (finalised(b ^ length) >>> 11)
}

/**
 * Copies the next code units of a text into `blocksOfPiece`. An event's data is a part of its chunk's text, and `charCodeAt` on
 * such a part costs more than the copy: the fingerprint of an event of 120 bytes took 350 ns with it, and takes 170.
 *
 * @returns The number of blocks: two code units are one block of 32 bits.
 */
function copyBlocks(text: string, from: number): number {
  if (text.length < leastCopied) {
    for (let i = 0; i < text.length; i += 2) {
      // charCodeAt beyond the end is NaN, which `|` converts to 0; the hashed length distinguishes it from a NUL.
      blocksOfPiece[i / 2] = text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16)
    }
    return (text.length + 1) >> 1
  }
  const isWhole = from === 0 && text.length <= pieceSize
  const size = piece.write(isWhole ? text : text.slice(from, from + pieceSize), 0, 'utf16le')
  // The second half of the last block, after an odd number of code units.
  if ((size & 3) !== 0) piece[size] = piece[size + 1] = 0
  return (size + 3) >> 2
}

function mixed(hash: number, block: number): number {
  let k = Math.imul(block, 0xcc9e2d51)
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593)
  const h = hash ^ k
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0
}

function finalised(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
