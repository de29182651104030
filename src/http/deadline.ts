import { type Slot, type Timed, wheel } from './timer-wheel.ts'

/**
 * Calls a function after a time limit, unless it is cleared or refreshed; 0 means no limit.
 *
 * Fires only after pending input was read: in a busy or suspended process a late timer would otherwise run before data that
 * had already arrived, and a live peer would time out. When the timer is late, the limit is extended by the same time, up to a
 * second.
 *
 * All deadlines of the process share one timer of Node. Deadlines that are due at nearly the same time are checked together, so
 * that one of them may fire late, by a thirty-second part of its limit at most.
 */
export class Deadline<T> implements Timed {
  /** When the limit started, on the clock of `performance.now()`. */
  start = 0
  readonly limit: number
  readonly keepsAlive: boolean
  slot: Slot | undefined
  before: Timed | undefined
  after: Timed | undefined
  readonly #onTime: (target: T, limit: number) => void
  readonly #target: T
  #isCleared = false

  /**
   * @param limit - In milliseconds.
   * @param target - Passed to the function: one function can serve all streams, and a closure for each of them would be held as
   * long as the stream.
   * @param keepsAlive - Whether the deadline keeps the process alive.
   */
  constructor(limit: number, onTime: (target: T, limit: number) => void, target: T, keepsAlive = true) {
    this.limit = limit
    this.keepsAlive = keepsAlive
    this.#onTime = onTime
    this.#target = target
    this.refresh()
  }

  /**
   * Restarts the limit, unless it was cleared. Called for each chunk and therefore cheap: a running deadline keeps its place in
   * the wheel, which moves it when its earlier time is over.
   */
  refresh(): void {
    if (this.limit <= 0 || this.#isCleared) return
    this.start = performance.now()
    if (this.slot === undefined) wheel.add(this)
  }

  clear(): void {
    this.#isCleared = true
    if (this.slot !== undefined) wheel.remove(this)
  }

  fire(): void {
    this.#onTime(this.#target, this.limit)
  }
}
