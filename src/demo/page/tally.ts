/** An event that is not here so long after it was published counts as lost. Milliseconds. */
export const lostAfter = 5000

/** Which of the published events have arrived at one client. */
export class Tally {
  received = 0
  twice = 0
  /** The delay of the latest event that arrived for the first time, in milliseconds. */
  latency: number | undefined
  /** The longest delay of all. */
  longest: number | undefined
  /** When the missing events were published, by their serials, oldest first. */
  readonly #missing = new Map<number, number>()
  /** The serial of the first event that has arrived. */
  #first: number | undefined
  /** The highest serial that is known. */
  #highest = 0

  /**
   * Notes that an event was published. Arrivals and publications may be noted in any order.
   *
   * @returns False before the client's first event: what was published earlier is not the client's.
   */
  publish(serial: number, at: number): boolean {
    if (this.#first === undefined) return false
    // The page may have missed the news of earlier events.
    while (this.#highest < serial) this.#missing.set(++this.#highest, at)
    return true
  }

  /** @returns Whether the event has arrived for the first time. */
  arrive(serial: number, at: number, now: number): boolean {
    if (this.#first === undefined) {
      this.#first = serial
      this.#highest = serial - 1
    }
    this.publish(serial, at)
    if (!this.#missing.delete(serial)) {
      if (serial >= this.#first) this.twice++
      return false
    }
    this.received++
    // The clocks of two processes may differ by a fraction of a millisecond.
    this.latency = Math.max(0, now - at)
    this.longest = Math.max(this.longest ?? 0, this.latency)
    return true
  }

  /** The number of events that are lost at a time. A later arrival makes the number smaller. */
  lost(now: number): number {
    let count = 0
    for (const at of this.#missing.values()) {
      if (now - at <= lostAfter) break
      count++
    }
    return count
  }
}
