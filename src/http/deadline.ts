/** The longest that a timer of Node can wait, in milliseconds: a longer one would fire at once. */
export const longestTimer = 2 ** 31 - 1

/**
 * The most of our own absence, in milliseconds, that does not count: time for what has arrived by then to be read and
 * decoded, and for a request to go out and be answered.
 */
const mostLate = 1000

/**
 * A time that is up unless it is cleared or starts anew; 0 is never up.
 *
 * It is not up before what has arrived by then has been read. The timers of a process that was busy, or suspended, fire
 * late, and before its sockets are read: it would take its own absence for the other side's silence. By as much as a
 * timer is late, up to a second, the time is longer.
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
    const due = performance.now() + time
    // Node reads sockets between timers and immediates.
    const lookNext = () => {
      this.#up = setImmediate(() => this.#look())
    }
    this.#arm(time, () => {
      const late = performance.now() - due
      if (late < 1) lookNext()
      else this.#arm(Math.min(late, mostLate), lookNext)
    })
  }

  #arm(time: number, onTime: () => void): void {
    this.#timer = setTimeout(onTime, time)
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
