import { SseError } from '../errors.ts'
import type { Position } from '../resume/delivered.ts'
import { type Delay, delayOf, isRetryable } from './delay.ts'
import type { CheckedReconnectOptions } from './options.ts'

/** What a stream has passed on by now. */
export interface PassedOn extends Pick<Position, 'lastEventId' | 'cursor'> {
  /** Whether an event was passed on. */
  readonly passedOn: boolean
}

/** Counts the attempts of an outage, and decides whether the next one is made, and when. */
export class Retries {
  /** The upstream's latest `retry:` field, in milliseconds. */
  reconnectionTime: number | undefined
  readonly #options: CheckedReconnectOptions
  readonly #isSentOnce: boolean
  /** Attempts, and retries among them, since the last progress. */
  #attempts = 0
  #retries = 0
  /** When the connection opened that has just ended cleanly after progress. */
  #endedCleanlyFrom: number | undefined

  /** @param isSentOnce - Whether the request is repeated only when it is known not to have been processed. */
  constructor(options: CheckedReconnectOptions, isSentOnce: boolean) {
    this.#options = options
    this.#isSentOnce = isSentOnce
  }

  /** Number of the attempt that is made next, 0 being the first of an outage. */
  get attempt(): number {
    return this.#attempts
  }

  /** An attempt is made. @returns Its number. */
  begin(): number {
    this.#endedCleanlyFrom = undefined
    return this.#attempts++
  }

  /**
   * The stream has made progress: count and delays start anew.
   *
   * @param endedCleanlyFrom - When the connection opened, if it has ended cleanly.
   */
  restart(endedCleanlyFrom: number | undefined): void {
    this.#attempts = 0
    this.#retries = 0
    this.#endedCleanlyFrom = endedCleanlyFrom
  }

  /**
   * @returns When the next attempt is due; undefined when `error` allows no attempt.
   * @throws {@link SseError} `ERR_SSE_RETRIES_EXHAUSTED`; what `shouldRetry` throws.
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
