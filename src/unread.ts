const LF = 10
const COLON = 58
const SPACE = 32
const manyBlocks = 16
const idLine = Buffer.from('\nid')
const nothing = Buffer.alloc(0)

/** What is known of blocks without reading them event by event. */
export interface Skimmed {
  /** How many of them have data. */
  readonly events: number
  /** The last id in them. */
  readonly id: string | undefined
}

/**
 * Whole blocks that were passed on unread. The latest of them are kept, so that they can be read when it matters what
 * they were; of the others no more is known than how many events there were, and their last id.
 *
 * They are copied into two pages that are filled in turn: kept by reference they would outlive the garbage collector's
 * young generation, which costs much more.
 */
export class UnreadBlocks {
  readonly #limit: number
  readonly #mostPageSize: number
  #older = new Page()
  #newer = new Page()
  #events = 0
  #id: string | undefined

  /** @param limit - The most bytes that are kept, and twice the least; the latest piece is, however large. */
  constructor(limit: number) {
    this.#limit = limit
    this.#mostPageSize = Math.ceil(limit / 2)
  }

  get isEmpty(): boolean {
    return this.#newer.size === 0 && this.#older.size === 0 && this.#events === 0 && this.#id === undefined
  }

  /** @param blocks - Whole ones, without CR, NUL and byte order mark. */
  add(blocks: Buffer): void {
    if (this.#newer.size > 0 && this.#newer.size + blocks.length > this.#mostPageSize) {
      this.#skim(this.#older)
      const empty = this.#older
      this.#older = this.#newer
      this.#newer = empty
      if (this.#older.size + blocks.length > this.#limit) this.#skim(this.#older)
    }
    this.#newer.add(blocks, this.#mostPageSize)
  }

  /** What is kept, in order; whole blocks in each piece, which holds until more is added. */
  take(): Buffer[] {
    return [this.#older.take(this.#mostPageSize), this.#newer.take(this.#mostPageSize)]
  }

  /** What is known of all that is not kept any more; asked for once. */
  skimmed(): Skimmed {
    const skimmed = { events: this.#events, id: this.#id }
    this.#events = 0
    this.#id = undefined
    return skimmed
  }

  /** Keeps nothing. */
  clear(): void {
    this.#skim(this.#older)
    this.#skim(this.#newer)
    this.#older = new Page()
    this.#newer = new Page()
  }

  #skim(page: Page): void {
    if (page.size === 0) return
    const { events, id } = skim(page.take(this.#mostPageSize))
    this.#events += events
    this.#id = id ?? this.#id
  }
}

/** Bytes that are written over again and again. */
class Page {
  size = 0
  #buffer = nothing

  /** @param most - A larger buffer is not kept. */
  take(most: number): Buffer {
    const bytes = this.#buffer.subarray(0, this.size)
    this.size = 0
    if (this.#buffer.length > most) this.#buffer = nothing
    return bytes
  }

  /** @param most - The most that it grows to, if no piece is larger. */
  add(bytes: Buffer, most: number): void {
    const size = this.size + bytes.length
    // Who says little costs little.
    if (size > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(size, Math.min(most, Math.max(1024, 2 * size))))
      this.#buffer.copy(grown, 0, 0, this.size)
      this.#buffer = grown
    }
    this.#buffer.set(bytes, this.size)
    this.size = size
  }
}

/**
 * What can be known of whole blocks at the cost of a few searches.
 *
 * @param blocks - Without CR, NUL and byte order mark.
 */
export function skim(blocks: Buffer): Skimmed {
  return { events: countEvents(blocks), id: lastId(blocks) }
}

/** One for each block with a data line. */
function countEvents(blocks: Buffer): number {
  // Many searches are faster in a string, a few are not worth making one.
  return blocks.indexOf('\n\n') > blocks.length / manyBlocks
    ? countIn(blocks, blocks)
    : countIn(blocks.toString('latin1'), blocks)
}

/** @param text - The same as `blocks`, to be searched. */
function countIn(text: Searchable, blocks: Buffer): number {
  let events = 0
  let from = 0
  if (blocks.toString('latin1', 0, 4) === 'data' && isNameEnd(blocks[4])) {
    events++
    from = text.indexOf('\n\n', 0)
  }
  while (from !== -1) {
    const at = text.indexOf('\ndata', from)
    if (at === -1) break
    const isData = isNameEnd(blocks[at + 5])
    if (isData) events++
    from = isData ? text.indexOf('\n\n', at) : at + 1
    if (isData && from !== -1) from++
  }
  return events
}

interface Searchable {
  indexOf(text: string, from: number): number
}

/** The value of the last line that is an `id` field. */
function lastId(blocks: Buffer): string | undefined {
  // Forwards in ever larger parts from the end: backwards it would stop at each `d`.
  for (let size = 1024; ; size *= 8) {
    const from = Math.max(0, blocks.length - size)
    let nameEnd = from === 0 && blocks.toString('latin1', 0, 2) === 'id' && isNameEnd(blocks[2]) ? 2 : -1
    for (let at = blocks.indexOf(idLine, from); at !== -1; at = blocks.indexOf(idLine, at + 1)) {
      if (isNameEnd(blocks[at + idLine.length])) nameEnd = at + idLine.length
    }
    if (nameEnd !== -1) return valueAt(blocks, nameEnd)
    if (from === 0) return undefined
  }
}

const isNameEnd = (byte: number | undefined) => byte === COLON || byte === LF

function valueAt(blocks: Buffer, nameEnd: number): string {
  if (blocks[nameEnd] === LF) return ''
  const start = blocks[nameEnd + 1] === SPACE ? nameEnd + 2 : nameEnd + 1
  return blocks.toString('utf8', start, blocks.indexOf(LF, start))
}
