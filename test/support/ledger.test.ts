import { expect } from 'chai'
import { dataOf } from './flaky-upstream.ts'
import { Ledger, numbered } from './ledger.ts'

function ledgerOf(numbers: readonly number[], ledger = new Ledger()): Ledger {
  for (const number of numbers) ledger.note({ id: String(number), data: dataOf(number) })
  return ledger
}

describe('the ledger', () => {
  it('accepts a whole stream', () => {
    const ledger = ledgerOf([1, 2, 3])
    expect(ledger).to.include({ delivered: 3, twice: 0, outOfOrder: 0, damaged: 0, lastEventId: '3' })
    expect(ledger.lost(3)).to.equal(0)
    expect(ledger.isWhole(3)).to.equal(true)
  })

  it('counts lost, repeated and disordered events', () => {
    // 3 and 4 arrive late, 5 and 1 repeat, 6 and 8 are missing.
    const ledger = ledgerOf([1, 2, 5, 5, 3, 4, 1, 7])
    expect(ledger).to.include({ delivered: 6, twice: 2, outOfOrder: 2, damaged: 0, lastEventId: '7' })
    expect(ledger.lost()).to.equal(1)
    expect(ledger.lost(8)).to.equal(2)
    expect([5, 6, 7, 8].map((number) => ledger.has(number))).to.deep.equal([true, false, true, false])
  })

  for (const [flaw, numbers] of [
    ['lost', [1, 3]],
    ['twice', [1, 2, 2, 3]],
    ['out of order', [1, 3, 2]],
  ] as const) {
    it(`rejects a stream with one event ${flaw}`, () => {
      expect(ledgerOf(numbers).isWhole(3)).to.equal(false)
    })
  }

  it('counts an event whose data does not belong to its id as damaged', () => {
    const ledger = new Ledger({ positionOf: numbered(2) })
    ledger.note({ id: '1', data: dataOf(2) })
    ledger.note({ id: '2', data: dataOf(2).slice(0, -1) })
    ledger.note({ id: '3', data: dataOf(3) })
    ledger.note({ data: dataOf(1) })
    expect(ledger).to.include({ delivered: 0, damaged: 4 })
    expect(ledger.lost(2)).to.equal(2)
    expect(ledger.isWhole(2)).to.equal(false)
  })

  it('treats an id without data as the last event ID, and not as an event', () => {
    const ledger = ledgerOf([1])
    ledger.note({ id: 'alone' })
    expect(ledger).to.include({ delivered: 1, damaged: 0, lastEventId: 'alone' })
  })

  it('allows repeats on a new connection when the upstream replays, and never within a connection', () => {
    const ledger = ledgerOf([1, 2, 4], new Ledger({ replayed: true }))
    ledger.connect()
    ledgerOf([2, 1, 3, 3, 6, 5], ledger)
    expect(ledger).to.include({ delivered: 6, twice: 1, outOfOrder: 1 })
    const strict = ledgerOf([1], new Ledger())
    strict.connect()
    expect(ledgerOf([1], strict)).to.include({ twice: 1 })
  })

  it('does not count repeats of an event whose repeats cannot be detected', () => {
    const ledger = ledgerOf([1, 2, 2, 3, 1], new Ledger({ mayRepeat: (position) => position === 2 }))
    expect(ledger).to.include({ delivered: 3, twice: 1, outOfOrder: 0 })
  })
})
