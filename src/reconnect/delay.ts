import type { DelaySource } from '../diagnostics.ts'
import type { SseError } from '../errors.ts'
import { longestTimer } from '../http/deadline.ts'

/** What decides how long a delay is; all times in milliseconds. */
export interface DelayRules {
  readonly baseDelay: number
  readonly maxDelay: number
  readonly minDelay: number
  readonly jitter: number
  readonly maxRetryAfter: number
}

/** What a delay is for. */
export interface DelayOccasion {
  /** Number of the retry in this outage, 0-based. */
  readonly retry: number
  /** The upstream's latest `retry:` field, in milliseconds. */
  readonly reconnectionTime: number | undefined
  /** What the upstream's Retry-After asks for, in milliseconds. */
  readonly retryAfter?: number | undefined
  /** After a clean end with progress: how long ago that connection opened, in milliseconds. */
  readonly sinceOpen?: number | undefined
}

/** A delay in milliseconds, and what set it. */
export interface Delay {
  readonly delay: number
  readonly source: DelaySource
}

/**
 * The delay before a retry.
 *
 * `min(maxDelay, base·2ⁿ)`, less a random part of up to `jitter` of it: subtracted after the cap, so that streams
 * never meet there. After a clean end with progress it is 0…`jitter·base`, but never so short that two opens are closer
 * together than `base`.
 *
 * What the upstream asks for, by `retry:` or Retry-After, is a floor, even above `maxDelay`: a client may wait longer,
 * and not shorter (HTML, 9.2.3). A delay that would be below it lies above it by its random part.
 *
 * @param random - From 0 to below 1, as Math.random gives it.
 */
export function delayOf(rules: DelayRules, occasion: DelayOccasion, random: () => number): Delay {
  const { maxDelay, minDelay, maxRetryAfter, jitter } = rules
  const { reconnectionTime, retryAfter = 0, sinceOpen } = occasion
  const base = Math.min(
    maxDelay,
    reconnectionTime === undefined ? rules.baseDelay : Math.max(minDelay, reconnectionTime),
  )
  const byRetry =
    reconnectionTime === undefined ? 0 : Math.max(minDelay, Math.min(reconnectionTime, maxRetryAfter))
  const spread = random() * jitter
  if (sinceOpen !== undefined) {
    const delay = Math.max(byRetry, base - sinceOpen) + spread * base
    return { delay: Math.min(delay, longestTimer), source: 'clean-end' }
  }
  const full = Math.min(maxDelay, base * 2 ** occasion.retry)
  const byStatus = Math.min(retryAfter, maxRetryAfter)
  const floor = Math.max(byRetry, byStatus)
  const isBelow = full - spread * full < floor
  const delay = isBelow ? Math.min(floor + spread * full, longestTimer) : full - spread * full
  if (isBelow && byStatus > byRetry) return { delay, source: 'retry-after' }
  return { delay, source: reconnectionTime === undefined ? 'backoff' : 'retry' }
}

/** What decides whether a request may be sent again. */
export interface RetryRules {
  /** Whether an event was passed on. */
  readonly passedOn: boolean
  /** Whether the request is sent again only when it is known not to have been processed (RFC 9110, 9.2.2). */
  readonly once: boolean
}

/** Whether a failed attempt or a drop is worth another attempt. */
export function isRetryable(
  { code, statusCode = 0, sent }: SseError,
  { passedOn, once }: RetryRules,
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
      // Before the first event it is the wrong URL; after it, a balancer's page during a deploy.
      return passedOn && !once
    default:
      return false
  }
}
