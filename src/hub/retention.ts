import type { EventsEntry, Position } from './store.ts'

/** Which events a log keeps. */
export interface RetentionLimits {
  readonly events: number
  readonly bytes: number
  /** In milliseconds. */
  readonly age: number | undefined
}

/** How many numbers are kept of an entry: its epoch, its last event, how many events and bytes it has, and its time. */
const width = 5

/** Keeps count of the entries of a log, and says which of them exceed its limits. */
export class Retention {
  readonly #limits: RetentionLimits
  /** Numbers alone, `width` of each entry: an object for each would live as long as its entry, and V8 would copy and mark it. */
  readonly #kept: number[] = []
  /** The place of the oldest entry: removing each entry from the front would move all others. */
  #oldest = 0
  #events = 0
  #bytes = 0

  constructor(limits: RetentionLimits) {
    this.#limits = limits
  }

  /**
   * Counts an entry that is about to be appended.
   *
   * @returns Entries that end before this position exceed the limits; undefined when no entry does.
   */
  add({ epoch, first, last, at, bytes: { length } }: EventsEntry): Position | undefined {
    const kept = this.#kept
    const latest = kept.length
    const events = last - first + 1
    kept.push(epoch, last, events, length, at)
    this.#events += events
    this.#bytes += length
    const before = this.#oldest
    while (this.#oldest < latest && this.#isExcess(at)) {
      this.#events -= kept[this.#oldest + 2] ?? 0
      this.#bytes -= kept[this.#oldest + 3] ?? 0
      this.#oldest += width
    }
    if (this.#oldest === before) return undefined
    const end = { epoch: kept[this.#oldest] ?? 0, seq: kept[this.#oldest + 1] ?? 0 }
    if (this.#oldest * 2 > kept.length) {
      kept.splice(0, this.#oldest)
      this.#oldest = 0
    }
    return end
  }

  /** Whether the oldest entry exceeds the limits. */
  #isExcess(now: number): boolean {
    const { events, bytes, age } = this.#limits
    if (this.#events > events || this.#bytes > bytes) return true
    return age !== undefined && now - (this.#kept[this.#oldest + 4] ?? 0) > age
  }
}
