import { setTimeout as delay } from 'node:timers/promises'
import { asError, reasonOf, SseError } from '../errors.ts'
import { Deadline } from '../http/deadline.ts'

/** The longest time for one call of a store, in milliseconds. A call to a suspended server would never be answered. */
const longestCall = 5000
const firstPause = 50
const longestPause = 1000

/** Told of the store's absence. */
export interface StoreListener {
  /** Called for each call that was rejected, or got no answer in time. */
  storeFailed(error: Error): void
  /** Called for the first call that failed, with the time at which it was made, on the clock of `performance.now()`. */
  storeAway(error: Error, since: number): void
  /** Called when a call has succeeded again, with the milliseconds of the absence. */
  storeBack(duration: number): void
}

/** Calls a store again until it answers, or until it has been away for too long. */
export class StoreAccess {
  readonly #isLocal: boolean
  readonly #timeout: number
  readonly #callLimit: number
  readonly #listener: StoreListener | undefined
  /** Since when every call has failed, on the clock of `performance.now()`; undefined while the store answers. */
  #awaySince: number | undefined
  readonly #controller = new AbortController()
  /** Ends the wait for the answer of a call. */
  readonly #waits = new Set<() => void>()

  /**
   * @param timeout - How long the store may be away, in milliseconds.
   * @param isLocal - Whether the store is in the memory of this process: then each call is answered, and needs no time limit,
   * which would cost as much as the call.
   */
  constructor(timeout: number, listener?: StoreListener, isLocal = false) {
    this.#isLocal = isLocal
    this.#timeout = timeout
    this.#listener = listener
    // Within the timeout, a call whose answer is lost is made again.
    this.#callLimit = Math.min(longestCall, timeout / 4)
  }

  /**
   * @param call - Called again after it has rejected or given no answer: a repeated call must not change the result.
   * @param isWanted - When false, no further call is made.
   * @throws {@link SseError} `ERR_SSE_STORE` when the store has been away for the whole timeout, this call alone has failed for
   * as long, or the store has thrown this error.
   */
  call<T>(call: () => Promise<T>, isWanted: () => boolean = () => true): Promise<T> {
    return this.#isLocal ? call() : this.#repeat(call, isWanted)
  }

  /** Ends all pauses and waits: calls fail at once. */
  close(): void {
    this.#controller.abort()
    for (const end of this.#waits) end()
  }

  async #repeat<T>(call: () => Promise<T>, isWanted: () => boolean): Promise<T> {
    let failingSince: number | undefined
    for (let pause = firstPause; ; pause = Math.min(pause * 2, longestPause)) {
      const start = performance.now()
      let answer: T
      try {
        answer = await this.#limited(call)
      } catch (thrown) {
        if (isFinal(thrown)) throw thrown
        const now = performance.now()
        // A call of a suspended process seems to have lasted as long as the suspension.
        const failedFrom = Math.max(start, now - this.#callLimit)
        failingSince ??= failedFrom
        const since = Math.min(failingSince, this.#onFailure(failedFrom, asError(thrown)))
        const isAway = now + pause - since >= this.#timeout
        if (isAway || !isWanted() || this.#controller.signal.aborted) throw storeError(thrown)
        await this.#pause(pause)
        continue
      }
      this.#onAnswer()
      return answer
    }
  }

  /** @returns Since when the store is away, on the clock of `performance.now()`. */
  #onFailure(start: number, error: Error): number {
    this.#listener?.storeFailed(error)
    if (this.#awaySince !== undefined) return this.#awaySince
    this.#awaySince = start
    this.#listener?.storeAway(error, start)
    return start
  }

  #onAnswer(): void {
    if (this.#awaySince === undefined) return
    const duration = performance.now() - this.#awaySince
    this.#awaySince = undefined
    this.#listener?.storeBack(duration)
  }

  #limited<T>(call: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const limit = this.#callLimit
      const deadline = new Deadline(limit, () => fail(`the store gave no answer within ${limit} ms`))
      const close = () => fail('the hub was closed')
      const settle = () => {
        deadline.clear()
        this.#waits.delete(close)
      }
      const fail = (message: string) => {
        settle()
        reject(new Error(message))
      }
      this.#waits.add(close)
      // An async function, because a store's function may throw. A late answer is ignored: the call was repeated by then.
      const answer = async () => call()
      answer().then(resolve, reject).finally(settle)
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

/** Whether the store itself says that no repetition can succeed. */
function isFinal(thrown: unknown): boolean {
  return thrown instanceof SseError && thrown.code === 'ERR_SSE_STORE'
}

function storeError(thrown: unknown): SseError {
  const cause = asError(thrown)
  return new SseError('ERR_SSE_STORE', `the store of shared streams cannot be reached: ${reasonOf(cause)}`, {
    cause,
    retryAfter: longestPause,
  })
}
