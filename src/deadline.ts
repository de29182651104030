/**
 * A time that is up unless it is cleared or starts anew; 0 is never up.
 *
 * It is not up before what has arrived by then has been read: timers that are late because the process was busy fire in
 * front of that, and would take our own delay for the other side's silence.
 */
export class Deadline {
  readonly #timer: NodeJS.Timeout | undefined
  #up: NodeJS.Immediate | undefined

  /** @param time - In milliseconds. */
  constructor(time: number, onTime: () => void) {
    if (time === 0) return
    this.#timer = setTimeout(() => {
      // Node reads sockets between timers and immediates.
      this.#up = setImmediate(onTime)
    }, time)
  }

  /** Starts it anew. */
  refresh(): void {
    clearImmediate(this.#up)
    this.#timer?.refresh()
  }

  clear(): void {
    clearImmediate(this.#up)
    clearTimeout(this.#timer)
  }
}
