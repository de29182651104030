import { dataOf } from './numbered-event.ts'

/** An event as it arrived; without data it is an id alone. */
export interface Arrival {
  readonly id?: string | undefined
  readonly event?: string | undefined
  readonly data?: string | undefined
}

export interface LedgerOptions {
  /**
   * Which event of the upstream's an arrival is, from 1; undefined for one that the upstream has not sent, or not so.
   * Default: events that are numbered without an end.
   */
  readonly positionOf?: (arrival: Arrival) => number | undefined
  /** Whether an event says nothing by which a repeat is known: it may come twice, and at any place. Default: none does so. */
  readonly mayRepeat?: (position: number) => boolean
  /** Whether the upstream may say again, to a client that reconnects, what it had said before. Default false. */
  readonly replayed?: boolean
}

/** Checks what a client got against what the upstream had to say, and nothing else. */
export class Ledger {
  /** Arrivals of an event that had arrived before. */
  twice = 0
  /** Events that arrived for the first time behind a later one. */
  outOfOrder = 0
  /** Arrivals that are no event of the upstream's, or not as it was. */
  damaged = 0
  /** For a client that reconnects; undefined before the first id. */
  lastEventId: string | undefined
  readonly #options: Required<LedgerOptions>
  readonly #seen = new Positions()
  /** What arrived over this connection, or over all of them where nothing may come again. */
  #seenHere = this.#seen
  /** The highest position that arrived over an earlier connection, where such events may come again in any order. */
  #before = 0
  #highest = 0

  constructor({ positionOf = numbered(), mayRepeat = () => false, replayed = false }: LedgerOptions = {}) {
    this.#options = { positionOf, mayRepeat, replayed }
  }

  /** Notes that the client opens a connection. */
  connect(): void {
    if (!this.#options.replayed) return
    this.#seenHere = new Positions()
    this.#before = this.#highest
  }

  note(arrival: Arrival): void {
    if (arrival.id !== undefined) this.lastEventId = arrival.id
    if (arrival.data === undefined) return
    const position = this.#options.positionOf(arrival)
    if (position === undefined) {
      this.damaged++
      return
    }
    if (!this.#options.mayRepeat(position)) {
      if (this.#seenHere.has(position)) this.twice++
      else if (position < this.#highest && position > this.#before) this.outOfOrder++
      this.#highest = Math.max(this.#highest, position)
    }
    this.#seenHere.add(position)
    this.#seen.add(position)
  }

  /** Different events that arrived undamaged. */
  get delivered(): number {
    return this.#seen.size
  }

  has(position: number): boolean {
    return this.#seen.has(position)
  }

  /** Events that never arrived, of as many as there are. Default: those that were passed over so far. */
  lost(events = this.#seen.highest): number {
    return events - this.#seen.size
  }

  /** Whether each of as many events arrived once, undamaged and in order. */
  isWhole(events: number): boolean {
    return this.lost(events) + this.twice + this.outOfOrder + this.damaged === 0
  }
}

/** Tells events that are numbered from 1 by their ids, which must belong to their data. */
export function numbered(last = Number.POSITIVE_INFINITY): (arrival: Arrival) => number | undefined {
  return ({ id = '', data }) => {
    const number = /^[1-9]\d*$/.test(id) ? Number(id) : 0
    return number > 0 && number <= last && data === dataOf(number) ? number : undefined
  }
}

/** A set of positions that costs a few bytes for a stream of any length, as long as few are missing. */
class Positions {
  highest = 0
  readonly #missing = new Set<number>()

  get size(): number {
    return this.highest - this.#missing.size
  }

  has(position: number): boolean {
    return position <= this.highest && !this.#missing.has(position)
  }

  add(position: number): void {
    this.#missing.delete(position)
    while (this.highest < position) if (++this.highest < position) this.#missing.add(this.highest)
  }
}
