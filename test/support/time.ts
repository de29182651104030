import { mock } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Time that stands still until a test lets it pass. */
export interface HeldTime extends Disposable {
  /** Lets milliseconds pass, fires the timers that are due, and waits until what these have caused was done. */
  pass(milliseconds: number): Promise<void>
}

/** Holds `setTimeout` and `performance.now()`; sockets go on. */
export function holdTime(): HeldTime {
  mock.timers.enable({ apis: ['setTimeout'] })
  const start = performance.now()
  let passed = 0
  mock.method(performance, 'now', () => start + passed)
  return {
    async pass(milliseconds) {
      passed += milliseconds
      mock.timers.tick(milliseconds)
      // A deadline looks at the clock in the turn after its timer.
      await nextTurn()
      await nextTurn()
      // In front of an attempt exponential-backoff sets a timer of its own, for nothing.
      mock.timers.tick(1)
      await nextTurn()
      await nextTurn()
    },
    [Symbol.dispose]() {
      mock.timers.reset()
      mock.restoreAll()
    },
  }
}
