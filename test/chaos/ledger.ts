import type { Block } from './log.ts'

/** An event as it arrived. */
export interface Arrival {
  readonly id: string | undefined
  readonly type: string | undefined
  readonly data: string
}

/** Checks what a client got against what the upstream had to say, and nothing else. */
export class Ledger {
  twice = 0
  outOfOrder = 0
  /** Arrivals that are no event of the upstream's, or not as it was. */
  damaged = 0
  readonly #log: readonly Block[]
  readonly #replayed: boolean
  readonly #seen = new Set<number>()
  #seenHere = new Set<number>()
  /** The highest position that arrived over an earlier connection, where such may come again, in any order. */
  #before = 0
  #highest = 0

  /** @param replayed - Whether the upstream may say again to a client that comes back what it had said before. */
  constructor(log: readonly Block[], replayed: boolean) {
    this.#log = log
    this.#replayed = replayed
  }

  /** Notes that the client opens a connection of its own. */
  connect(): void {
    if (!this.#replayed) return
    this.#seenHere = new Set()
    this.#before = this.#highest
  }

  note({ id, type, data }: Arrival): void {
    const position = Number.parseInt(data, 10)
    const block = this.#log[position - 1]
    if (block === undefined || !isSame(block, { id, type, data })) {
      this.damaged++
      return
    }
    if (block.counts) {
      if (this.#seenHere.has(position)) this.twice++
      else if (position < this.#highest && position > this.#before) this.outOfOrder++
      this.#highest = Math.max(this.#highest, position)
    }
    this.#seenHere.add(position)
    this.#seen.add(position)
  }

  /** How many different events arrived. */
  get delivered(): number {
    return this.#seen.size
  }

  /** Whether the last event of all arrived. */
  get sawLast(): boolean {
    return this.#seen.has(this.#log.length)
  }

  /** The events that never arrived. */
  get missing(): number[] {
    return this.#log
      .filter(({ data, position }) => data !== undefined && !this.#seen.has(position))
      .map(({ position }) => position)
  }
}

/** Whether a client cannot tell one from the other: an event without an id has the last event ID, whoever says so. */
function isSame(block: Block, { id, type, data }: Arrival): boolean {
  const typeOf = (name: string | undefined) => name ?? 'message'
  return block.data === data && typeOf(block.type) === typeOf(type) && (!block.counts || block.id === id)
}
