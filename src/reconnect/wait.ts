/** The one wait of a stream: for a retry's delay, and then for room. */
export class Wait {
  /** Ends the wait at once. */
  #end: () => void = () => {}
  /** Ends the wait where its delay is over. */
  #look: () => void = () => {}

  /**
   * @param delay - In milliseconds.
   * @param hasRoom - Asked when the delay is over, and at each {@link look}.
   * @returns Resolves when the delay is over and there is room, or when the wait is ended.
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

  /** There may be room now. */
  look(): void {
    this.#look()
  }

  end(): void {
    this.#end()
  }
}
