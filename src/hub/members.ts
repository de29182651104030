import type { HeaderFields } from '../errors.ts'
import type { Log } from './log.ts'
import type { Member } from './member.ts'
import type { CheckedStreamOptions } from './options.ts'
import type { Position } from './store.ts'

/** When clients of a hub that is closing should reconnect, in milliseconds. */
export const dismissalRetry = 1000

/** The clients of a shared stream in this process. */
export class Members {
  readonly #members = new Set<Member>()
  readonly #log: Log
  readonly #options: CheckedStreamOptions
  /** When bytes were sent to all clients, on the clock of `performance.now()`. */
  #sentAt = performance.now()
  /** Up to where all clients had been sent the events at the latest tick. */
  #sent: Position | undefined

  constructor(log: Log, options: CheckedStreamOptions) {
    this.#log = log
    this.#options = options
  }

  get size(): number {
    return this.#members.size
  }

  has(member: Member): boolean {
    return this.#members.has(member)
  }

  add(member: Member): void {
    this.#members.add(member)
  }

  /** @returns Whether the client was one of the stream's. */
  delete(member: Member): boolean {
    return this.#members.delete(member)
  }

  /**
   * Sends heartbeats, and lets the clients check their time limits.
   *
   * @param now - On the clock of `performance.now()`.
   */
  tick(now: number): void {
    const { heartbeat, maxAge } = this.#options
    const { sent, readersBehind } = this.#log
    if (this.#sent !== sent) {
      this.#sent = sent
      this.#sentAt = now
    }
    const isSilent = heartbeat > 0 && now - this.#sentAt >= heartbeat
    if (isSilent) this.#sentAt = now
    const hasLimits = readersBehind > 0 || maxAge !== undefined
    if (!isSilent && !hasLimits) return
    for (const member of this.#members) {
      if (isSilent) member.heartbeat?.()
      if (hasLimits) member.tick?.(now)
    }
  }

  /**
   * Tells each of the present clients to come back, at a random time.
   *
   * @param limit - The latest time, in milliseconds from now.
   * @returns Stops it for the clients that were not told yet.
   */
  dismiss(limit: number): () => void {
    const timers = Array.from(this.#members, (member) =>
      setTimeout(() => member.dismiss(dismissalRetry), Math.random() * limit),
    )
    return () => {
      for (const timer of timers) clearTimeout(timer)
    }
  }

  onOpen(headers: HeaderFields): void {
    for (const member of this.#members) member.onOpen?.(headers)
  }

  onRetry(delay: number, error: Error): void {
    for (const member of this.#members) member.onRetry?.(delay, error)
  }

  onFailure(error: Error): void {
    for (const member of this.#members) member.onFailure(error)
  }
}
