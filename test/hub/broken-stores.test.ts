import { AssertionError } from 'node:assert'
import { expect } from 'chai'
import { storeTests } from '../../src/store-tests.ts'
import { brokenStores } from '../support/broken-stores.ts'
import { wrapStore } from '../support/store.ts'

describe('the tests of a store', () => {
  for (const { fault, fails, replace } of brokenStores) {
    it(`fail for a store that ${fault}`, async () => {
      const tests = storeTests(async () => ({ store: wrapStore(replace), close: async () => {} }), {
        patience: 200,
        seed: 1,
      })
      for (const title of fails) {
        const test = tests.find((each) => each.title === title)
        if (test === undefined) throw new Error(`no test ${title}`)
        const error: unknown = await test.run().then(
          () => undefined,
          (reason: unknown) => reason,
        )
        expect(error, title).to.be.instanceOf(Error)
        if (!(error instanceof RangeError)) expect(error, title).to.be.instanceOf(AssertionError)
      }
    })
  }

  it('close each store, also after a test that has failed', async () => {
    let opened = 0
    let closed = 0
    const open = async () => {
      opened++
      const store = wrapStore(() => ({ open: () => Promise.reject(new Error('away')) }))
      return { store, close: async () => void closed++ }
    }
    const tests = storeTests(open, { patience: 1 })
    const failed = await Promise.allSettled(tests.map(({ run }) => run()))
    expect(failed.filter(({ status }) => status === 'rejected')).to.have.length.above(50)
    expect({ opened, closed }).to.deep.equal({ opened: tests.length, closed: tests.length })
  })

  it('have titles of their own', () => {
    const titles = storeTests(() => Promise.reject(new Error('not opened'))).map(({ title }) => title)
    expect(new Set(titles).size).to.equal(titles.length)
    for (const title of titles) expect(title).to.match(/^\w+ /)
  })
})
