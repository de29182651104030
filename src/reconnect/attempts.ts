import { backOff } from 'exponential-backoff'
import { type Cancellation, offerCancelSignal } from '../http/cancellation.ts'
import type { Position } from '../resume/delivered.ts'
import type { UpstreamContext } from '../upstream/shapes.ts'

/** The result of an attempt: the stream is over, or another attempt may follow. */
export type Outcome = 'ended' | Interruption

export interface Interruption {
  readonly error: unknown
  readonly progress: boolean
  /** When the ended connection opened, on the clock of `performance.now()`; undefined unless it ended cleanly. */
  readonly endedCleanlyFrom?: number | undefined
}

/**
 * The context that the factory gets for an attempt.
 *
 * @param cancellation - Becomes an AbortSignal when the factory asks for one.
 */
export function contextOf(
  { lastEventId, cursor, header }: Position,
  attempt: Pick<UpstreamContext, 'attempt' | 'lastError' | 'fastPath'>,
  cancellation: Cancellation,
): UpstreamContext {
  const context: UpstreamContext = {
    ...attempt,
    lastEventId,
    cursor,
    headers: {
      accept: 'text/event-stream',
      'cache-control': 'no-cache',
      ...(header !== undefined && { 'last-event-id': header }),
    },
    get signal() {
      return cancellation.abortSignal
    },
  }
  offerCancelSignal(context, cancellation)
  return context
}

/** Whether there is nothing to back off from: the upstream has sent events and ended the connection by itself. */
export function isCleanEnd({ progress, endedCleanlyFrom }: Interruption): boolean {
  return progress && endedCleanlyFrom !== undefined
}

/**
 * Makes attempts until one of them ends the stream, or has a connection that ends cleanly.
 *
 * @param first - What the first attempt has ended with.
 * @param beforeRetry - Waits until the next attempt is due; false when no attempt may follow.
 * @param attempt - Never rejects.
 * @returns The outcome of the latest attempt.
 * @throws The latest error when no attempt may follow, or an error that `beforeRetry` throws.
 */
export async function retry(
  first: Interruption,
  beforeRetry: (interruption: Interruption) => Promise<boolean>,
  attempt: () => Promise<Outcome>,
): Promise<Outcome> {
  let outcome: Outcome = first
  let isFirst = true
  await backOff(
    async () => {
      if (!isFirst) outcome = await attempt()
      isFirst = false
      if (outcome !== 'ended' && !isCleanEnd(outcome)) throw outcome.error
    },
    {
      // `beforeRetry` counts retries: the package cannot reset its own count on progress.
      numOfAttempts: Number.POSITIVE_INFINITY,
      // The package's timer cannot be cleared, so `beforeRetry` waits instead and the package's delay is 0.
      startingDelay: 0,
      // With a factor of 2 the delay would become 0·Infinity, which is NaN, after about a thousand attempts.
      timeMultiple: 1,
      retry: async () => outcome !== 'ended' && (await beforeRetry(outcome)),
    },
  )
  return outcome
}
