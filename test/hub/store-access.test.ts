import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { StoreAccess } from '../../src/hub/store-access.ts'
import { SseError } from '../../src/index.ts'
import { holdTime } from '../support/time.ts'

const away = new Error('away')

async function errorOf(promise: Promise<unknown>): Promise<SseError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof SseError) return error
    throw error
  }
  throw new Error('no error')
}

describe('the access to a store', () => {
  it('passes an answer on', async () => {
    expect(await new StoreAccess(100).call(async () => 5)).to.equal(5)
  })

  it('calls again after growing pauses, until there is an answer', async () => {
    using time = holdTime()
    const access = new StoreAccess(10_000)
    let calls = 0
    const answer = access.call(async () => {
      if (++calls < 5) throw away
      return calls
    })
    // The pauses are 50, 100, 200 and 400 ms.
    for (const [pause, count] of [
      [0, 1],
      [40, 1],
      [20, 2],
      [80, 2],
      [30, 3],
      [150, 3],
      [100, 4],
      [300, 4],
      [150, 5],
    ] as const) {
      await time.pass(pause)
      expect(calls, `after ${pause} ms more`).to.equal(count)
    }
    expect(await answer).to.equal(5)
  })

  it('fails when the store has been away for the whole timeout, and at once while it stays away', async () => {
    using time = holdTime()
    const access = new StoreAccess(1000)
    let calls = 0
    const call = () => {
      calls++
      return Promise.reject(away)
    }
    const failed = errorOf(access.call(call))
    for (let n = 0; n < 40; n++) await time.pass(50)
    const error = await failed
    expect(error).to.include({ code: 'ERR_SSE_STORE', cause: away })
    expect(error.retryAfter).to.be.above(0)
    expect(calls).to.be.above(2)
    calls = 0
    await errorOf(access.call(call))
    expect(calls).to.equal(1)
    expect(await access.call(async () => 1)).to.equal(1)
    const again = access.call(call)
    again.catch(() => {})
    await time.pass(0)
    await time.pass(60)
    expect(calls).to.be.above(2)
    access.close()
    await errorOf(again)
  })

  it('takes a function that throws for a call that rejects', async () => {
    const access = new StoreAccess(100)
    let calls = 0
    const answer = access.call(() => {
      if (++calls < 2) throw away
      return Promise.resolve(calls)
    })
    expect(await answer).to.equal(2)
  })

  it('calls again when a call is not answered, and ignores a late answer', async () => {
    using time = holdTime()
    const access = new StoreAccess(40_000)
    const answers: ((answer: string) => void)[] = []
    const call = access.call(() => new Promise<string>((resolve) => answers.push(resolve)))
    await time.pass(5000)
    await time.pass(50)
    expect(answers).to.have.length(2)
    answers[0]?.('late')
    answers[1]?.('second')
    expect(await call).to.equal('second')
  })

  it('makes no further call that is no longer wanted', async () => {
    let calls = 0
    const call = () => {
      calls++
      return Promise.reject(away)
    }
    await errorOf(new StoreAccess(10_000).call(call, () => false))
    expect(calls).to.equal(1)
  })

  it('ends pauses and waits when it is closed', async () => {
    const access = new StoreAccess(60_000)
    const waiting = errorOf(access.call(() => new Promise(() => {})))
    const pausing = errorOf(access.call(() => Promise.reject(away)))
    await new Promise((resolve) => setImmediate(resolve))
    access.close()
    expect((await waiting).message).to.include('the hub was closed')
    expect((await pausing).cause).to.equal(away)
  })

  it('announces no failure of the store when it is closed', async () => {
    const announced: string[] = []
    const listener = {
      storeFailed: () => announced.push('failed'),
      storeAway: () => announced.push('away'),
      storeBack: () => announced.push('back'),
    }
    const access = new StoreAccess(100, listener)
    const waiting = errorOf(access.call(() => new Promise(() => {})))
    access.close()
    expect((await waiting).message).to.include('the hub was closed')
    expect(announced).to.deep.equal([])
  })

  it('lets thousands of calls wait without a warning of a leak', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error) => void warnings.push(warning)
    process.on('warning', onWarning)
    try {
      const access = new StoreAccess(60_000)
      const calls = Array.from({ length: 2000 }, () => errorOf(access.call(() => Promise.reject(away))))
      await nextTurn()
      access.close()
      await Promise.all(calls)
      await nextTurn()
      expect(warnings.filter(({ name }) => name === 'MaxListenersExceededWarning')).to.deep.equal([])
    } finally {
      process.off('warning', onWarning)
    }
  })

  it('does not take the suspension of the process for the absence of the store', async () => {
    using time = holdTime()
    const access = new StoreAccess(30_000)
    let fail = (_: Error) => {}
    let calls = 0
    const answer = access.call(() => {
      if (++calls > 1) return Promise.resolve(calls)
      return new Promise<number>((_, reject) => {
        fail = reject
      })
    })
    time.skip(600_000)
    fail(away)
    await time.pass(0)
    await time.pass(60)
    expect(await answer).to.equal(2)
  })
})
