import { dataOf } from '../../src/demo/numbered-event.ts'

/** Checks a stream of events that are numbered from 1 on, however many there will be, in a few bytes of memory. */
export class StreamLedger {
  /** Different events that arrived undamaged. */
  delivered = 0
  /** Arrivals of an event that had arrived before. */
  twice = 0
  /** Events that arrived for the first time behind a later one. */
  outOfOrder = 0
  /** Arrivals whose id does not exist or does not belong to their data. */
  damaged = 0
  /** The last event ID, for whoever comes back; undefined before the first event. */
  lastEventId: string | undefined
  #next = 1
  readonly #missing = new Set<number>()

  note(id: string | undefined, data: string): void {
    const number = /^[1-9]\d*$/.test(id ?? '') ? Number(id) : 0
    if (number === 0 || data !== dataOf(number)) {
      this.damaged++
      return
    }
    this.lastEventId = id
    if (number < this.#next && !this.#missing.delete(number)) {
      this.twice++
      return
    }
    this.delivered++
    if (number < this.#next) this.outOfOrder++
    for (; this.#next < number; this.#next++) this.#missing.add(this.#next)
    if (number === this.#next) this.#next++
  }

  /** Events that were passed over so far, or, for a stream that is through, that never came. */
  lost(last = this.#next - 1): number {
    return this.#missing.size + Math.max(0, last - this.#next + 1)
  }
}
