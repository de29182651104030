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
      // Keeps the process alive: otherwise it could exit in the middle of an outage.
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
