import { dataOf } from './numbered-event.ts'

/** A block that has arrived: an event, or an id without data. */
export interface Arrival {
  readonly id?: string | undefined
  readonly event?: string | undefined
  readonly data?: string | undefined
}

export interface LedgerOptions {
  /**
   * Returns the number of an arrival among the upstream's events, from 1; undefined when the upstream has not sent this
   * event, or has sent it with other content. Default: {@link numbered} events without an upper limit.
   */
  readonly positionOf?: (arrival: Arrival) => number | undefined
  /** Whether repeats of an event cannot be detected: the event may arrive repeatedly, at any place. Default: no event. */
  readonly mayRepeat?: (position: number) => boolean
  /** Whether the upstream may repeat events to a client that reconnects. Default false. */
  readonly replayed?: boolean
}

/** Compares the events that a client has received with the events of the upstream. */
export class Ledger {
  /** Repeated arrivals. */
  twice = 0
  /** Events that arrived for the first time after a later event. */
  outOfOrder = 0
  /** Arrivals that the upstream has not sent, or has sent with other content. */
  damaged = 0
  /** The last event ID that has arrived; undefined before the first id. */
  lastEventId: string | undefined
  readonly #options: Required<LedgerOptions>
  readonly #seen = new Positions()
  /** Positions that arrived over this connection; over all connections unless `replayed`. */
  #seenHere = this.#seen
  /** With `replayed`: the highest position that arrived over an earlier connection. Up to here any order is allowed. */
  #before = 0
  #highest = 0

  constructor({ positionOf = numbered(), mayRepeat = () => false, replayed = false }: LedgerOptions = {}) {
    this.#options = { positionOf, mayRepeat, replayed }
  }

  /** Called before the client opens a connection. */
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

  /** The number of different events that arrived undamaged. */
  get delivered(): number {
    return this.#seen.size
  }

  has(position: number): boolean {
    return this.#seen.has(position)
  }

  /** The number of missing events among the first `events`. Default: among those up to the latest that arrived. */
  lost(events = this.#seen.highest): number {
    return events - this.#seen.size
  }

  /** Whether each of the first `events` arrived once, undamaged and in order. */
  isWhole(events: number): boolean {
    return this.lost(events) + this.twice + this.outOfOrder + this.damaged === 0
  }
}

/** The position of an event whose id is its number from 1, and whose data is that of {@link dataOf}. */
export function numbered(last = Number.POSITIVE_INFINITY): (arrival: Arrival) => number | undefined {
  return ({ id = '', data }) => {
    const number = /^[1-9]\d*$/.test(id) ? Number(id) : 0
    return number > 0 && number <= last && data === dataOf(number) ? number : undefined
  }
}

/** A set of positions that stores only the highest and the missing ones, so that a long stream needs little memory. */
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
