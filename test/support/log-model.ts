import { comparePositions, type Position } from '../../src/hub/store.ts'

/** What a reader of a shared log has been given: an event, by its position, or the news that events are missing. */
export type Taken = Position | 'gap'

/** A model of a shared log: a plain list of the events. */
export class LogModel {
  readonly events: Position[] = []
  /** The number of events that the store may have removed. */
  #removable = 0

  add(position: Position): void {
    this.events.push(position)
  }

  /** Allows the events before a position to be removed. */
  trim(before: Position): void {
    this.#removable = Math.max(this.#removable, this.after(before) - 1)
  }

  /** The number of events up to a position. */
  after(position: Position): number {
    let count = 0
    while (count < this.events.length && isUpTo(this.events[count], position)) count++
    return count
  }

  /**
   * What is wrong with what a reader was given that has started after `start` events; undefined when it is right: each event once and in
   * order, up to the last one, without any that the store may have removed, each time after a gap was announced.
   */
  faultIn(taken: readonly Taken[], start: number): string | undefined {
    let next = start
    let isGap = false
    for (const item of taken) {
      if (item === 'gap') {
        isGap = true
        continue
      }
      const index = this.after(item) - 1
      if (index < next) return `event ${index} after event ${next - 1}`
      if (index > next && !isGap) return `event ${index} instead of event ${next}`
      if (index > next && index > this.#removable)
        return `event ${index}, although ${this.#removable} is kept`
      isGap = false
      next = index + 1
    }
    const { length } = this.events
    if (next !== length && !(isGap && length <= this.#removable))
      return `no event after ${next - 1} of ${length}`
    return undefined
  }
}

const isUpTo = (event: Position | undefined, position: Position) =>
  event !== undefined && comparePositions(event, position) <= 0
