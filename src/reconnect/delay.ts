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
 * never meet there. Retry-After is a floor; what lies above it is spread in the same measure. After a clean end with
 * progress it is 0…`jitter·base`, but never so short that two opens are closer together than `base`.
 *
 * @param random - From 0 to below 1, as Math.random gives it.
 */
export function delayOf(rules: DelayRules, occasion: DelayOccasion, random: () => number): Delay {
  const { maxDelay, jitter } = rules
  const base = baseOf(rules, occasion.reconnectionTime)
  const spread = random() * jitter
  if (occasion.sinceOpen !== undefined) {
    const delay = Math.max(0, base - occasion.sinceOpen) + spread * base
    return { delay: Math.min(delay, maxDelay), source: 'clean-end' }
  }
  const full = Math.min(maxDelay, base * 2 ** occasion.retry)
  const delay = full - spread * full
  const floor = Math.min(occasion.retryAfter ?? 0, rules.maxRetryAfter)
  if (floor > delay) return { delay: Math.min(floor + spread * full, longestTimer), source: 'retry-after' }
  return { delay, source: occasion.reconnectionTime === undefined ? 'backoff' : 'retry' }
}

/** `baseDelay`, or the upstream's `retry:` clamped to `minDelay`…`maxDelay`. */
function baseOf({ baseDelay, minDelay, maxDelay }: DelayRules, reconnectionTime: number | undefined): number {
  if (reconnectionTime === undefined) return Math.min(baseDelay, maxDelay)
  return Math.min(maxDelay, Math.max(minDelay, reconnectionTime))
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
