import type { DelaySource } from '../diagnostics.ts'
import type { SseError } from '../errors.ts'
import { longestTimer } from '../http/timer-wheel.ts'

/** The options that set a delay; all times in milliseconds. */
export interface DelayOptions {
  readonly baseDelay: number
  readonly maxDelay: number
  readonly minDelay: number
  readonly jitter: number
  readonly maxRetryAfter: number
}

/** The state of the outage that a delay is computed for. */
export interface DelayInput {
  /** Number of the retry in this outage, from 0. */
  readonly retry: number
  /** The upstream's latest `retry:` field, in milliseconds. */
  readonly reconnectionTime: number | undefined
  /** The upstream's Retry-After, in milliseconds. */
  readonly retryAfter?: number | undefined
  /** Set after a clean end with progress: milliseconds since the ended connection opened. */
  readonly sinceOpen?: number | undefined
}

export interface Delay {
  /** Milliseconds. */
  readonly delay: number
  readonly source: DelaySource
}

/**
 * Computes the delay before retry n.
 *
 * The delay is `min(maxDelay, base·2ⁿ)` minus a random part of up to `jitter` of that value. The random part is
 * subtracted after the cap, so that long outages do not synchronize all streams at `maxDelay`. After a clean end with
 * progress the delay is 0…`jitter·base`, extended so that two opens are at least `base` apart.
 *
 * The upstream's `retry:` and Retry-After, up to `maxRetryAfter`, are a lower bound, even above `maxDelay`: a client may
 * wait longer, but not shorter (HTML, 9.2.3). The random part is added to this bound.
 *
 * @param random - Returns a number from 0 to below 1, as `Math.random` does.
 */
export function delayOf(options: DelayOptions, input: DelayInput, random: () => number): Delay {
  const { maxDelay, minDelay, maxRetryAfter, jitter } = options
  const { reconnectionTime, retryAfter = 0, sinceOpen } = input
  const base = Math.min(
    maxDelay,
    reconnectionTime === undefined ? options.baseDelay : Math.max(minDelay, reconnectionTime),
  )
  const byRetry =
    reconnectionTime === undefined ? 0 : Math.max(minDelay, Math.min(reconnectionTime, maxRetryAfter))
  const spread = random() * jitter
  if (sinceOpen !== undefined) {
    const delay = Math.max(byRetry, base - sinceOpen) + spread * base
    return { delay: Math.min(delay, longestTimer), source: 'clean-end' }
  }
  const full = Math.min(maxDelay, base * 2 ** input.retry)
  const byStatus = Math.min(retryAfter, maxRetryAfter)
  const floor = Math.max(byRetry, byStatus)
  const isBelow = full - spread * full < floor
  const delay = isBelow ? Math.min(floor + spread * full, longestTimer) : full - spread * full
  if (isBelow && byStatus > byRetry) return { delay, source: 'retry-after' }
  return { delay, source: reconnectionTime === undefined ? 'backoff' : 'retry' }
}

/** The state of a stream that decides whether its request may be sent again. */
export interface RetryInput {
  /** Whether the stream has passed on an event. */
  readonly passedOn: boolean
  /** Whether the request is sent again only when it is known not to have been processed (RFC 9110, 9.2.2). */
  readonly once: boolean
}

/** Whether a failed attempt or a drop may be retried. */
export function isRetryable(
  { code, statusCode = 0, sent }: SseError,
  { passedOn, once }: RetryInput,
): boolean {
  switch (code) {
    case 'ERR_SSE_CONNECT':
      return !once || sent === false
    case 'ERR_SSE_CONNECT_TIMEOUT':
    case 'ERR_SSE_DROPPED':
    case 'ERR_SSE_IDLE_TIMEOUT':
      return !once
    case 'ERR_SSE_STATUS':
      return statusCode === 408 || statusCode === 425 || statusCode === 429 || statusCode >= 500
    case 'ERR_SSE_CONTENT_TYPE':
      // Before the first event, another type means a wrong URL; after it, a load balancer's page during a deploy.
      return passedOn && !once
    default:
      return false
  }
}
