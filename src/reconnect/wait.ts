/** The wait before a retry: for the delay, and then until the sink has room. */
export class Wait {
  /** Ends the wait at once. */
  #end: (() => void) | undefined
  /** Ends the wait if the delay is over and the sink has room. */
  #look: (() => void) | undefined

  /**
   * @param delay - Milliseconds.
   * @param hasRoom - Called when the delay is over, and by {@link look}.
   * @returns Resolves when the delay is over and `hasRoom` returns true, or when {@link end} is called.
   */
  start(delay: number, hasRoom: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      // A timer of its own, which is exact and never extended as a deadline is: streams must not come back at the same moment,
      // and no input can make the wait needless. It keeps the process alive, which could exit in the middle of an outage otherwise.
      const timer = setTimeout(() => {
        this.#look = () => {
          if (hasRoom()) resolve()
        }
        this.#look()
      }, delay)
      this.#end = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Called when the sink may have room again. */
  look(): void {
    this.#look?.()
  }

  end(): void {
    this.#end?.()
  }
}
