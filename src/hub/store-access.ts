import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { asError, reasonOf, SseError } from '../errors.ts'
import { Deadline } from '../http/deadline.ts'

/** The longest time for one call of a store, in milliseconds. A call to a suspended server would never be answered. */
const longestCall = 5000
const firstPause = 50
const longestPause = 1000

/** Learns when the store is away. */
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
  readonly #waits = new Set<Wait>()

  /**
   * @param timeout - How long the store may be away, in milliseconds.
   * @param isLocal - Whether the store is in the memory of this process: then each call is answered, and needs no time limit,
   * which would cost as much as the call.
   */
  constructor(timeout: number, listener?: StoreListener, isLocal = false) {
    this.#isLocal = isLocal
    this.#timeout = timeout
    this.#listener = listener
    // Each call of a store that is away pauses: with thousands of streams, Node would take the listeners for a leak.
    setMaxListeners(0, this.#controller.signal)
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
    for (const wait of this.#waits) wait.fail('the hub was closed')
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
        // The store is not away because the hub has been closed: its listener learns of no failure.
        if (this.#controller.signal.aborted) throw storeError(thrown)
        const now = performance.now()
        // A call of a suspended process seems to have lasted as long as the suspension.
        const failedFrom = Math.max(start, now - this.#callLimit)
        failingSince ??= failedFrom
        const since = Math.min(failingSince, this.#onFailure(failedFrom, asError(thrown)))
        const isAway = now + pause - since >= this.#timeout
        if (isAway || !isWanted()) throw storeError(thrown)
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
      const wait = new Wait(this.#waits, this.#callLimit, reject)
      const onAnswer = (answer: T) => {
        wait.end()
        resolve(answer)
      }
      const onError = (error: unknown) => {
        wait.end()
        reject(error)
      }
      try {
        // A late answer is ignored: the call was repeated by then.
        Promise.resolve(call()).then(onAnswer, onError)
      } catch (thrown) {
        onError(thrown)
      }
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

/**
 * The wait for the answer of one call. One object, and no closure of its own: what thousands of calls hold while they wait outlives the
 * collections of young objects, and leaves the memory between the objects that stay in pieces.
 */
class Wait {
  readonly #waits: Set<Wait>
  readonly #reject: (error: Error) => void
  readonly #deadline: Deadline<Wait>

  constructor(waits: Set<Wait>, limit: number, reject: (error: Error) => void) {
    this.#waits = waits
    this.#reject = reject
    this.#deadline = new Deadline<Wait>(limit, onTime, this)
    waits.add(this)
  }

  end(): void {
    this.#deadline.clear()
    this.#waits.delete(this)
  }

  fail(message: string): void {
    this.end()
    this.#reject(new Error(message))
  }
}

function onTime(wait: Wait, limit: number): void {
  wait.fail(`the store gave no answer within ${limit} ms`)
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
