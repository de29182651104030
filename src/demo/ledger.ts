import { dataOf } from './numbered-event.ts'

/** Checks the events that a client got against 1..N, by their ids and their data and by nothing else. */
export class Ledger {
  /** How many events there are to come. */
  readonly expected: number
  readonly #seen = new Set<number>()
  #highest = 0
  #twice = 0
  #outOfOrder = 0
  #damaged = 0

  constructor(expected: number) {
    this.expected = expected
  }

  note(id: string | undefined, data: string): void {
    const number = /^[1-9]\d*$/.test(id ?? '') ? Number(id) : 0
    if (number < 1 || number > this.expected || data !== dataOf(number)) {
      this.#damaged++
    } else if (this.#seen.has(number)) {
      this.#twice++
    } else {
      if (number < this.#highest) this.#outOfOrder++
      this.#seen.add(number)
      this.#highest = Math.max(this.#highest, number)
    }
  }

  /** Different events that arrived undamaged. */
  get delivered(): number {
    return this.#seen.size
  }

  /** Events that never arrived. */
  get lost(): number {
    return this.expected - this.#seen.size
  }

  /** Arrivals of an event that had arrived before. */
  get twice(): number {
    return this.#twice
  }

  /** Events that arrived for the first time behind a later one. */
  get outOfOrder(): number {
    return this.#outOfOrder
  }

  /** Arrivals whose id does not exist or does not belong to their data. */
  get damaged(): number {
    return this.#damaged
  }

  get isWhole(): boolean {
    return this.lost + this.twice + this.outOfOrder + this.damaged === 0
  }
}
