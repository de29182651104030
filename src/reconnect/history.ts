import type { DropReason } from '../diagnostics.ts'
import { asError } from '../errors.ts'

/** Counts what happens to a stream, and measures its downtime. */
export class History {
  /** Bytes read from upstream bodies. */
  bytes = 0
  /** Repeated events. */
  duplicates = 0
  /** The latest failed attempt or drop. */
  lastError: Error | undefined
  /** Why the latest connection was lost. */
  lastDrop: DropReason | undefined
  /** Whether the latest attempt failed. */
  attemptFailed = false
  #attempts = 0
  #opens = 0
  #gaps = 0
  readonly #drops: Record<DropReason, number> = { end: 0, reset: 0, 'idle-timeout': 0 }
  #downtime = 0
  #downSince: number | undefined

  /** A snapshot. The downtime includes the current outage. */
  get stats() {
    const outage = this.#downSince === undefined ? 0 : performance.now() - this.#downSince
    return {
      attempts: this.#attempts,
      opens: this.#opens,
      gaps: this.#gaps,
      duplicates: this.duplicates,
      bytes: this.bytes,
      drops: { ...this.#drops },
      downtime: this.#downtime + outage,
      lastError: this.lastError,
    }
  }

  attempt(): void {
    this.#attempts++
  }

  failed(error: unknown): void {
    this.attemptFailed = true
    this.#down(asError(error))
  }

  /** @returns The number of connections that were opened before this one. */
  open(): number {
    this.attemptFailed = false
    this.up()
    return this.#opens++
  }

  gap(): void {
    this.#gaps++
  }

  drop(reason: DropReason, error: Error): void {
    this.#drops[reason]++
    this.lastDrop = reason
    this.#down(error)
  }

  /** Ends the current outage: a connection is open, or the stream is over. */
  up(): void {
    if (this.#downSince === undefined) return
    this.#downtime += performance.now() - this.#downSince
    this.#downSince = undefined
  }

  #down(error: Error): void {
    this.lastError = error
    this.#downSince ??= performance.now()
  }
}
