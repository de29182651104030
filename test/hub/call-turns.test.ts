import { expect } from 'chai'
import { CallTurns } from '../../src/hub/call-turns.ts'
import { until } from '../support/until.ts'

const longTurn = 600_000

/** Calls that are answered when the test says so. */
function callsOf(turns: CallTurns, count: number) {
  const started: number[] = []
  const answers: (() => void)[] = []
  const results = Array.from({ length: count }, (_, n) =>
    turns.run(() => {
      started.push(n)
      return new Promise<number>((resolve) => {
        answers[n] = () => resolve(n)
      })
    }),
  )
  return { started, results, answer: (n: number) => answers[n]?.() }
}

describe('the turns of calls', () => {
  it('are so many at a time, in the order in which the calls came', async () => {
    const { started, results, answer } = callsOf(new CallTurns(2, longTurn), 5)
    expect(started).to.deep.equal([0, 1])
    answer(1)
    expect(await results[1]).to.equal(1)
    await until(
      () => started.length === 3,
      () => `calls ${started}`,
    )
    for (const n of [0, 2, 3, 4]) {
      await until(
        () => started.includes(n),
        () => `call ${n} after ${started}`,
      )
      expect(started.length).to.be.at.most(n + 3)
      answer(n)
    }
    expect(await Promise.all(results)).to.deep.equal([0, 1, 2, 3, 4])
    expect(started).to.deep.equal([0, 1, 2, 3, 4])
  })

  it('are free again after a call that has failed', async () => {
    const turns = new CallTurns(1, longTurn)
    const failing = turns.run(() => Promise.reject(new Error('away')))
    const next = turns.run(async () => 'next')
    expect(await failing.catch(({ message }) => message)).to.equal('away')
    expect(await next).to.equal('next')
  })

  it('end once for a call that is not answered: others go on, and no more of them than allowed', async () => {
    const turns = new CallTurns(1, 20)
    const slow = callsOf(turns, 1)
    const others = callsOf(turns, 3)
    await until(
      () => others.started.length === 1,
      () => 'the call behind one that is not answered',
    )
    // Its turn was over before: its answer makes no room.
    slow.answer(0)
    expect(await slow.results[0]).to.equal(0)
    others.answer(0)
    await others.results[0]
    await until(
      () => others.started.length === 2,
      () => 'the next call',
    )
    const last = callsOf(turns, 1)
    expect(last.started).to.deep.equal([])
    for (const n of [1, 2]) {
      await until(
        () => others.started.includes(n),
        () => `call ${n}`,
      )
      others.answer(n)
    }
    await until(
      () => last.started.length === 1,
      () => 'the last call',
    )
    last.answer(0)
    expect(await Promise.all([...others.results, ...last.results])).to.deep.equal([0, 1, 2, 0])
  })
})
