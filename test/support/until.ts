import { setImmediate as nextTurn } from 'node:timers/promises'

/** Waits for the thing itself; fails with `what` when it does not come about in time. */
export async function until(condition: () => boolean, what: () => string, limit = 5000): Promise<void> {
  const end = performance.now() + limit
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${limit} ms: ${what()}`)
    // Not a timer: one that has just fired still counts as an open handle.
    await nextTurn()
  }
}
