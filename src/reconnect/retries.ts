import { SseError } from '../errors.ts'
import type { Position } from '../resume/delivered.ts'
import { type Delay, delayOf, isRetryable } from './delay.ts'
import type { CheckedReconnectOptions } from './options.ts'

/** What a stream has passed on. */
export interface PassedOn extends Pick<Position, 'lastEventId' | 'cursor'> {
  /** Whether an event was passed on. */
  readonly passedOn: boolean
}

/** Counts the attempts of an outage, and decides whether and when the next attempt is made. */
export class Retries {
  /** The upstream's latest `retry:` field, in milliseconds. */
  reconnectionTime: number | undefined
  readonly #options: CheckedReconnectOptions
  readonly #isSentOnce: boolean
  /** Attempts since the last progress, and the retries among them. */
  #attempts = 0
  #retries = 0
  /** After a clean end with progress: when the ended connection opened, on the clock of `performance.now()`. */
  #endedCleanlyFrom: number | undefined

  /** @param isSentOnce - Whether the request is repeated only when it is known not to have been processed. */
  constructor(options: CheckedReconnectOptions, isSentOnce: boolean) {
    this.#options = options
    this.#isSentOnce = isSentOnce
  }

  /** The number of the next attempt in this outage, from 0. */
  get attempt(): number {
    return this.#attempts
  }

  /**
   * Called before each attempt.
   *
   * @returns The number of the attempt.
   */
  begin(): number {
    this.#endedCleanlyFrom = undefined
    return this.#attempts++
  }

  /**
   * Resets the counts and the delays after progress.
   *
   * @param endedCleanlyFrom - When the ended connection opened; undefined unless it ended cleanly.
   */
  restart(endedCleanlyFrom: number | undefined): void {
    this.#attempts = 0
    this.#retries = 0
    this.#endedCleanlyFrom = endedCleanlyFrom
  }

  /**
   * @returns The delay before the next attempt; undefined when no attempt may follow `error`.
   * @throws {@link SseError} `ERR_SSE_RETRIES_EXHAUSTED`; an error of `shouldRetry`.
   */
  async next(error: SseError, passedOn: PassedOn): Promise<Delay | undefined> {
    if (!(await this.#isAllowed(error, passedOn))) return undefined
    if (this.#retries >= this.#options.maxRetries) {
      const retries = this.#retries === 1 ? '1 retry' : `${this.#retries} retries`
      const message = `gave up after ${retries} without progress: ${error.message}`
      throw new SseError('ERR_SSE_RETRIES_EXHAUSTED', message, { cause: error })
    }
    const openedAt = this.#endedCleanlyFrom
    const input = {
      retry: this.#retries++,
      reconnectionTime: this.reconnectionTime,
      retryAfter: error.retryAfter,
      sinceOpen: openedAt === undefined ? undefined : performance.now() - openedAt,
    }
    return delayOf(this.#options, input, Math.random)
  }

  async #isAllowed(error: SseError, { passedOn, lastEventId, cursor }: PassedOn): Promise<boolean> {
    const retryable = isRetryable(error, { passedOn, once: this.#isSentOnce })
    const { shouldRetry } = this.#options
    if (!shouldRetry) return retryable
    return shouldRetry(error, { attempts: this.#attempts, passedOn, lastEventId, cursor, retryable })
  }
}
