import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'

/** Turns of the event loop without a pause: most conditions hold after a few. */
const quickTurns = 1000

/**
 * Waits until a condition holds.
 *
 * @param what - Describes the condition, for the error after `limit` milliseconds. Default 50 s: a busy machine takes
 * long, and mocha's own limit, which says nothing of the condition, is a minute.
 */
export async function until(condition: () => boolean, what: () => string, limit = 50_000): Promise<void> {
  const end = performance.now() + limit
  for (let turn = 0; !condition(); turn++) {
    if (performance.now() > end) throw new Error(`not within ${limit} ms: ${what()}`)
    // A long wait leaves the processor to the other processes of a test.
    if (turn > quickTurns) await sleep(2)
    // After the timer: a timer that has just fired still counts as an open handle.
    await nextTurn()
  }
}
