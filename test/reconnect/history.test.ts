import { expect } from 'chai'
import { History } from '../../src/reconnect/history.ts'
import { until } from '../support/until.ts'

describe('a history', () => {
  it('counts attempts, opens, gaps, and drops by reason, and has the latest error', () => {
    const history = new History()
    const first = new Error('first')
    const second = new Error('second')
    history.attempt()
    expect(history.open()).to.equal(0)
    history.drop('reset', first)
    history.attempt()
    history.failed(second)
    history.attempt()
    expect(history.open()).to.equal(1)
    history.gap()
    history.duplicates += 2
    history.bytes += 30
    const { downtime, ...stats } = history.stats
    expect(stats).to.deep.equal({
      attempts: 3,
      opens: 2,
      gaps: 1,
      duplicates: 2,
      bytes: 30,
      drops: { end: 0, reset: 1, 'idle-timeout': 0 },
      lastError: second,
    })
    expect(downtime).to.be.above(0)
  })

  it('has downtime from the first failure of an outage until the next open, and none in between', async () => {
    const history = new History()
    history.attempt()
    expect(history.stats.downtime).to.equal(0)
    history.failed(new Error('no'))
    const before = history.stats.downtime
    const grown = () => history.stats.downtime > before
    await until(grown, () => 'the outage goes on')
    history.failed(new Error('again'))
    expect(history.stats.downtime, 'a second failure starts no new outage').to.be.above(before)
    history.open()
    const { downtime } = history.stats
    await new Promise(setImmediate)
    expect(history.stats.downtime).to.equal(downtime)
    history.up()
    expect(history.stats.downtime).to.equal(downtime)
    history.drop('end', new Error('end'))
    await until(
      () => history.stats.downtime > downtime,
      () => 'the next outage adds to the first one',
    )
  })

  it('reports whether the latest attempt failed, and why the latest connection was lost', () => {
    const history = new History()
    const seen: unknown[] = []
    const note = () => seen.push([history.attemptFailed, history.lastDrop])
    note()
    history.failed(new Error('no'))
    note()
    history.open()
    note()
    history.drop('idle-timeout', new Error('silent'))
    note()
    history.failed(new Error('no'))
    note()
    expect(seen).to.deep.equal([
      [false, undefined],
      [true, undefined],
      [false, undefined],
      [false, 'idle-timeout'],
      [true, 'idle-timeout'],
    ])
  })

  it('returns copies', () => {
    const history = new History()
    const { drops } = history.stats
    history.drop('end', new Error('end'))
    expect(drops.end).to.equal(0)
  })
})
