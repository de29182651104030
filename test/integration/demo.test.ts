import { expect } from 'chai'
import { Ledger } from '../../src/demo/ledger.ts'
import { dataOf } from '../../src/demo/numbered-event.ts'
import { startNode } from '../support/child.ts'

const demo = (...args: string[]) => startNode(['src/cli.ts', 'demo', ...args]).ended

/** The figures of the closing table by their labels. */
function figuresOf(output: string): Map<string, number> {
  const rows = output.matchAll(/^ *(\S.*?) +(\d+)(?: ms)?$/gm)
  return new Map([...rows].map(([, label = '', value]) => [label, Number(value)]))
}

describe('the demonstration', () => {
  it('delivers every event once and in order while its upstream drops in every way', async () => {
    const { code, out } = await demo('--events', '300', '--seed', '7', '--drop-rate', '0.05')
    expect(code, out).to.equal(0)
    const figures = figuresOf(out)
    const sound = {
      'events sent': 300,
      delivered: 300,
      lost: 0,
      twice: 0,
      'out of order': 0,
      damaged: 0,
      'client connections': 1,
    }
    for (const [label, value] of Object.entries(sound)) expect(figures.get(label), label).to.equal(value)
    for (const kind of [
      'clean end',
      'connection reset',
      'half-open silence',
      '503 for a while',
      'connections refused',
      'cut within an event',
      'events replayed',
    ]) {
      expect(figures.get(kind), kind).to.be.at.least(1)
    }
    expect(figures.get('reconnects')).to.be.at.least(7)
  })

  it('says with --help what it takes', async () => {
    const { code, out } = await demo('--help')
    expect(code).to.equal(0)
    for (const option of ['--events', '--seed', '--drop-rate', '--help']) expect(out).to.include(option)
  })

  for (const [option, value] of [
    ['--events', 'many'],
    ['--seed', '1.5'],
    ['--drop-rate', '2'],
  ] as const) {
    it(`names ${option} when its value is wrong`, async () => {
      const { code, err } = await demo(`${option}=${value}`)
      expect(code).to.equal(2)
      expect(err).to.include(option).and.to.include(`"${value}"`)
    })
  }

  it('names an option that it does not know', async () => {
    const { code, err } = await demo('--rate', '1')
    expect(code).to.equal(2)
    expect(err).to.include('--rate')
  })
})

describe("the demonstration's ledger", () => {
  function ledgerOf(expected: number, ...numbers: number[]): Ledger {
    const ledger = new Ledger(expected)
    for (const number of numbers) ledger.note(String(number), dataOf(number))
    return ledger
  }

  it('finds a whole stream whole', () => {
    const ledger = ledgerOf(3, 1, 2, 3)
    expect(ledger).to.include({ delivered: 3, lost: 0, twice: 0, outOfOrder: 0, damaged: 0, isWhole: true })
  })

  it('tells lost, repeated and disordered events apart', () => {
    // 3 and 4 come late, 5 and 1 come again, 6 and 8 never.
    const ledger = ledgerOf(8, 1, 2, 5, 5, 3, 4, 1, 7)
    expect(ledger).to.include({ delivered: 6, lost: 2, twice: 2, outOfOrder: 2, damaged: 0, isWhole: false })
  })

  for (const [flaw, numbers] of [
    ['lost', [1, 3]],
    ['twice', [1, 2, 2, 3]],
    ['outOfOrder', [1, 3, 2]],
  ] as const) {
    it(`takes a stream with one event ${flaw} for broken`, () => {
      expect(ledgerOf(3, ...numbers)).to.include({ [flaw]: 1, isWhole: false })
    })
  }

  it('does not believe an id whose data is that of another event, or of none', () => {
    const ledger = new Ledger(2)
    ledger.note('1', dataOf(2))
    ledger.note('2', dataOf(2).slice(0, -1))
    ledger.note('3', dataOf(3))
    ledger.note(undefined, dataOf(1))
    expect(ledger).to.include({ delivered: 0, lost: 2, damaged: 4, isWhole: false })
  })
})
