import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Waits until a condition holds.
 *
 * @param what - Describes the condition, for the error after `limit` milliseconds.
 */
export async function until(condition: () => boolean, what: () => string, limit = 5000): Promise<void> {
  const end = performance.now() + limit
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${limit} ms: ${what()}`)
    // Not a timer: a timer that has just fired still counts as an open handle.
    await nextTurn()
  }
}
