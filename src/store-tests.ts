/// <reference types="node" preserve="true" />

import { randomInt } from 'node:crypto'
import type { StreamStore } from './hub/store.ts'
import { appendCases } from './hub/store-tests/append.ts'
import { Bench } from './hub/store-tests/bench.ts'
import { leaseCases } from './hub/store-tests/lease.ts'
import { nameCases } from './hub/store-tests/names.ts'
import { openCases } from './hub/store-tests/open.ts'
import { ownerCases } from './hub/store-tests/owners.ts'
import { readCases } from './hub/store-tests/read.ts'
import { watchCases } from './hub/store-tests/watch.ts'

/**
 * A store that is tested.
 *
 * @example
 * ```ts
 * import { memoryStore } from 'resilient-sse'
 * import type { StoreUnderTest } from 'resilient-sse/store-tests'
 *
 * const open = async (): Promise<StoreUnderTest> => ({ store: memoryStore(), close: async () => {} })
 * ```
 */
export interface StoreUnderTest {
  readonly store: StreamStore
  /** Called after each test, also after one that has failed. */
  close(): Promise<void>
}

/**
 * One test of a store.
 *
 * @example
 * ```ts
 * import type { StoreTest } from 'resilient-sse/store-tests'
 *
 * const add = ({ title, run }: StoreTest) => it(title, run)
 * ```
 */
export interface StoreTest {
  readonly title: string
  /** Rejects with an `AssertionError` when the store does not do what it must do, or with the store's own error. */
  run(): Promise<void>
}

/**
 * Options of {@link storeTests}.
 *
 * @example
 * ```ts
 * import { memoryStore } from 'resilient-sse'
 * import { type StoreTestOptions, storeTests } from 'resilient-sse/store-tests'
 *
 * const options: StoreTestOptions = { patience: 5000, seed: 1 }
 * const tests = storeTests(async () => ({ store: memoryStore(), close: async () => {} }), options)
 * ```
 */
export interface StoreTestOptions {
  /** How long a test waits for what a store does later, such as a wake, in milliseconds. Default 30000. */
  readonly patience?: number
  /** Decides what is random in a test; failures name it. Default: another one in each process. */
  readonly seed?: number
}

const someSeed = randomInt(2 ** 31)

/**
 * The tests that a {@link StreamStore} must pass before a hub can rely on it. They need no particular test framework, but a time
 * limit of some seconds for each test.
 *
 * Streams get names of their own, so that several processes may test one database at the same time. Their logs are kept for up
 * to 20 minutes.
 *
 * @param open - Called for each test.
 *
 * @example
 * ```ts
 * import { memoryStore } from 'resilient-sse'
 * import { storeTests } from 'resilient-sse/store-tests'
 *
 * const openMyStore = async () => ({ store: memoryStore(), close: async () => {} })
 * describe('my store', () => {
 *   for (const { title, run } of storeTests(openMyStore)) it(title, run)
 * })
 * ```
 */
export function storeTests(
  open: () => Promise<StoreUnderTest>,
  { patience = 30_000, seed = someSeed }: StoreTestOptions = {},
): readonly StoreTest[] {
  const cases = [
    ...openCases,
    ...appendCases,
    ...leaseCases,
    ...readCases,
    ...watchCases,
    ...nameCases,
    ...ownerCases,
  ]
  return cases.map(({ title, run }) => ({
    title,
    async run() {
      const { store, close } = await open()
      try {
        await run(new Bench(store, seed, patience))
      } finally {
        await close()
      }
    },
  }))
}
