/** The longest that a timer of Node can wait, in milliseconds: a longer one would fire at once. */
export const longestTimer = 2 ** 31 - 1

/**
 * A time that is up unless it is cleared or starts anew; 0 is never up.
 *
 * It is not up before what has arrived by then has been read: timers that are late because the process was busy fire in
 * front of that, and would take our own delay for the other side's silence.
 */
export class Deadline {
  readonly #time: number
  readonly #onTime: () => void
  readonly #keepsAlive: boolean
  /** When it started, on the clock of `performance.now()`. */
  #start = performance.now()
  #isUp = false
  #timer: NodeJS.Timeout | undefined
  #up: NodeJS.Immediate | undefined

  /**
   * @param time - In milliseconds.
   * @param keepsAlive - Whether the process stays for it.
   */
  constructor(time: number, onTime: () => void, keepsAlive = true) {
    this.#time = time
    this.#onTime = onTime
    this.#keepsAlive = keepsAlive
    if (time > 0) this.#wait(time)
  }

  /** Starts it anew. Cheap, as it happens for each chunk: the timer looks at the clock when it fires. */
  refresh(): void {
    this.#start = performance.now()
    if (this.#isUp) this.#wait(this.#time)
  }

  clear(): void {
    this.#isUp = false
    clearTimeout(this.#timer)
    clearImmediate(this.#up)
  }

  #wait(time: number): void {
    this.#isUp = false
    this.#timer = setTimeout(() => {
      // Node reads sockets between timers and immediates.
      this.#up = setImmediate(() => this.#look())
    }, time)
    if (!this.#keepsAlive) this.#timer.unref()
  }

  #look(): void {
    const left = this.#start + this.#time - performance.now()
    if (left > 0) {
      this.#wait(left)
    } else {
      this.#isUp = true
      this.#onTime()
    }
  }
}
