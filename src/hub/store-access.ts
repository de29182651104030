import { setTimeout as delay } from 'node:timers/promises'
import { asError, reasonOf, SseError } from '../errors.ts'

/** The longest time for one call of a store, in milliseconds. A call to a suspended server would never be answered. */
const longestCall = 5000
const firstPause = 50
const longestPause = 1000

/** Calls a store again until it answers, or until it has been away for too long. */
export class StoreAccess {
  readonly #timeout: number
  readonly #callLimit: number
  /** Since when every call has failed, on the clock of `performance.now()`; undefined while the store answers. */
  #awaySince: number | undefined
  readonly #controller = new AbortController()

  /** @param timeout - How long the store may be away, in milliseconds. */
  constructor(timeout: number) {
    this.#timeout = timeout
    this.#callLimit = Math.min(longestCall, timeout)
  }

  /**
   * @param call - Called again after it has rejected or given no answer: a repeated call must not change the result.
   * @param isWanted - When false, no further call is made.
   * @throws {@link SseError} `ERR_SSE_STORE` when the store has been away for the whole timeout.
   */
  async call<T>(call: () => Promise<T>, isWanted: () => boolean = () => true): Promise<T> {
    for (let pause = firstPause; ; pause = Math.min(pause * 2, longestPause)) {
      const start = performance.now()
      try {
        const answer = await this.#limited(call)
        this.#awaySince = undefined
        return answer
      } catch (thrown) {
        this.#awaySince ??= start
        const isAway = performance.now() + pause - this.#awaySince >= this.#timeout
        if (isAway || !isWanted() || this.#controller.signal.aborted) throw storeError(thrown)
      }
      await this.#pause(pause)
    }
  }

  /** Ends all pauses and waits: calls fail at once. */
  close(): void {
    this.#controller.abort()
  }

  #limited<T>(call: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const limit = this.#callLimit
      const timer = setTimeout(() => reject(new Error(`the store gave no answer within ${limit} ms`)), limit)
      // A late answer is ignored: the call has been repeated by then.
      call()
        .then(resolve, reject)
        .finally(() => clearTimeout(timer))
    })
  }

  async #pause(milliseconds: number): Promise<void> {
    try {
      await delay(milliseconds, undefined, { signal: this.#controller.signal })
    } catch {
      // The hub was closed. The next call is the last one.
    }
  }
}

function storeError(thrown: unknown): SseError {
  const cause = asError(thrown)
  return new SseError('ERR_SSE_STORE', `the store of shared streams cannot be reached: ${reasonOf(cause)}`, {
    cause,
    retryAfter: longestPause,
  })
}
