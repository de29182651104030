/** The longest time of a Node timer, in milliseconds: a longer timer would fire at once. */
export const longestTimer = 2 ** 31 - 1

/**
 * The longest extension of a late deadline, in milliseconds. It is enough to read and decode the input that has arrived, and
 * for a request to be sent and answered.
 */
const longestExtension = 1000

/**
 * Calls a function after a time limit, unless it is cleared or refreshed; 0 means no limit.
 *
 * Fires only after pending input was read: in a busy or suspended process a late timer would otherwise run before data that
 * had already arrived, and a live peer would time out. When a timer is late, the limit is extended by the same time, up to a
 * second.
 */
export class Deadline {
  readonly #limit: number
  readonly #onTime: () => void
  readonly #keepsAlive: boolean
  /** When the limit started, on the clock of `performance.now()`. */
  #start = performance.now()
  #hasFired = false
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined

  /**
   * @param limit - In milliseconds.
   * @param keepsAlive - Whether the timer keeps the process alive.
   */
  constructor(limit: number, onTime: () => void, keepsAlive = true) {
    this.#limit = limit
    this.#onTime = onTime
    this.#keepsAlive = keepsAlive
    if (limit > 0) this.#wait(limit)
  }

  /** Restarts the limit. Called for each chunk and therefore cheap: only the clock is read, and the timer is not replaced. */
  refresh(): void {
    this.#start = performance.now()
    if (this.#hasFired) this.#wait(this.#limit)
  }

  clear(): void {
    this.#hasFired = false
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
  }

  #wait(time: number): void {
    this.#hasFired = false
    const due = performance.now() + time
    // Node reads sockets between timers and immediates.
    const checkAfterInput = () => {
      this.#immediate = setImmediate(() => this.#check())
    }
    this.#setTimer(time, () => {
      const late = performance.now() - due
      if (late < 1) checkAfterInput()
      else this.#setTimer(Math.min(late, longestExtension), checkAfterInput)
    })
  }

  #setTimer(time: number, onTime: () => void): void {
    this.#timer = setTimeout(onTime, time)
    if (!this.#keepsAlive) this.#timer.unref()
  }

  #check(): void {
    const left = this.#start + this.#limit - performance.now()
    if (left > 0) {
      this.#wait(left)
    } else {
      this.#hasFired = true
      this.#onTime()
    }
  }
}
