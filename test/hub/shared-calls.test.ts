import { expect } from 'chai'
import { SharedCalls } from '../../src/hub/shared-calls.ts'

describe('shared calls', () => {
  it('are made once for those that want the same, until they are answered', async () => {
    const calls = new SharedCalls<number>()
    let made = 0
    const call = async () => ++made
    expect(
      await Promise.all([calls.call('a', call), calls.call('a', call), calls.call('b', call)]),
    ).to.deep.equal([1, 1, 2])
    expect(await calls.call('a', call)).to.equal(3)
  })

  it('fail for all that have made them, and are made again', async () => {
    const calls = new SharedCalls<number>()
    const failing = () => Promise.reject(new Error('away'))
    const results = await Promise.allSettled([calls.call('a', failing), calls.call('a', async () => 1)])
    expect(results.map(({ status }) => status)).to.deep.equal(['rejected', 'rejected'])
    expect(await calls.call('a', async () => 2)).to.equal(2)
  })
})
