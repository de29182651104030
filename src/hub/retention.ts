import type { EventsEntry, Position } from './store.ts'
import { positionOf } from './store.ts'

/** Which events a log keeps. */
export interface RetentionLimits {
  readonly events: number
  readonly bytes: number
  /** In milliseconds. */
  readonly age: number | undefined
}

interface Kept {
  readonly end: Position
  readonly events: number
  readonly bytes: number
  readonly at: number
}

/** Keeps count of the entries of a log, and says which of them exceed its limits. */
export class Retention {
  readonly #limits: RetentionLimits
  readonly #kept: Kept[] = []
  /** The index of the oldest entry: removing each entry from the front would move all others. */
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
  add(entry: EventsEntry): Position | undefined {
    const { first, last, at, bytes } = entry
    const added = { end: positionOf(entry), events: last - first + 1, bytes: bytes.length, at }
    this.#kept.push(added)
    this.#events += added.events
    this.#bytes += added.bytes
    const before = this.#oldest
    for (let kept = this.#kept[before]; kept && kept !== added; kept = this.#kept[++this.#oldest]) {
      if (!this.#isExcess(kept, at)) break
      this.#events -= kept.events
      this.#bytes -= kept.bytes
    }
    if (this.#oldest === before) return undefined
    const end = this.#kept[this.#oldest]?.end
    if (this.#oldest * 2 > this.#kept.length) {
      this.#kept.splice(0, this.#oldest)
      this.#oldest = 0
    }
    return end
  }

  #isExcess({ at }: Kept, now: number): boolean {
    const { events, bytes, age } = this.#limits
    return this.#events > events || this.#bytes > bytes || (age !== undefined && now - at > age)
  }
}
