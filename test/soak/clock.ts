/** A clock in milliseconds that can be stopped. */
export class HeldClock {
  /** How long the clock was stopped, without the time since the latest {@link hold}. */
  #held = 0
  #heldAt: number | undefined

  get isHeld(): boolean {
    return this.#heldAt !== undefined
  }

  readonly now = (): number => (this.#heldAt ?? performance.now()) - this.#held

  hold(): void {
    this.#heldAt ??= performance.now()
  }

  go(): void {
    if (this.#heldAt === undefined) return
    this.#held += performance.now() - this.#heldAt
    this.#heldAt = undefined
  }
}
