import { memoryStore } from '../../src/index.ts'
import { storeTests } from '../../src/store-tests.ts'

describe('the store in memory', () => {
  for (const { title, run } of storeTests(async () => ({ store: memoryStore(), close: async () => {} }))) {
    it(title, run)
  }
})
