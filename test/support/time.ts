import { mock } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'

/** A mocked clock that a test advances. */
export interface HeldTime extends Disposable {
  /** Advances the clock, runs the timers that are due, and waits for the callbacks that follow them. */
  pass(milliseconds: number): Promise<void>
  /** Advances the clock without running timers, as the suspension of the process does. */
  skip(milliseconds: number): void
}

/** Mocks `setTimeout` and `performance.now()`; sockets work as usual. */
export function holdTime(): HeldTime {
  mock.timers.enable({ apis: ['setTimeout'] })
  // A whole millisecond: with a fraction, the difference of two times would not be exact.
  const start = Math.ceil(performance.now())
  let passed = 0
  mock.method(performance, 'now', () => start + passed)
  return {
    async pass(milliseconds) {
      passed += milliseconds
      mock.timers.tick(milliseconds)
      // A Deadline checks the clock one turn after its timer.
      await nextTurn()
      await nextTurn()
      // The package exponential-backoff sets a timer of 0 ms before each attempt.
      mock.timers.tick(1)
      await nextTurn()
      await nextTurn()
    },
    skip(milliseconds) {
      passed += milliseconds
    },
    [Symbol.dispose]() {
      mock.timers.reset()
      mock.restoreAll()
    },
  }
}
