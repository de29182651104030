import type { DropReason } from '../diagnostics.ts'

/** What the connections of a source have been through: how many, how they ended, how long there was none. */
export class History {
  /** The latest failed attempt or drop. */
  lastError: Error | undefined
  #attempts = 0
  #opens = 0
  #gaps = 0
  readonly #drops: Record<DropReason, number> = { end: 0, reset: 0, 'idle-timeout': 0 }
  #downtime = 0
  #downSince: number | undefined

  /** A copy; an outage that still goes on is part of the downtime. */
  get stats() {
    const outage = this.#downSince === undefined ? 0 : performance.now() - this.#downSince
    return {
      attempts: this.#attempts,
      opens: this.#opens,
      gaps: this.#gaps,
      drops: { ...this.#drops },
      downtime: this.#downtime + outage,
      lastError: this.lastError,
    }
  }

  attempt(): void {
    this.#attempts++
  }

  /** @returns How many connections were open before. */
  open(): number {
    this.up()
    return this.#opens++
  }

  gap(): void {
    this.#gaps++
  }

  drop(reason: DropReason, error: Error): void {
    this.#drops[reason]++
    this.down(error)
  }

  /** There is no connection, for this reason. */
  down(error: Error): void {
    this.lastError = error
    this.#downSince ??= performance.now()
  }

  /** There is a connection, or there will be none any more. */
  up(): void {
    if (this.#downSince === undefined) return
    this.#downtime += performance.now() - this.#downSince
    this.#downSince = undefined
  }
}
