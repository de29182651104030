import { expect } from 'chai'
import { runNode } from '../support/child.ts'

const demo = (...args: string[]) => runNode('src/cli.ts', ['demo', ...args])

/** The figures of the closing table by their labels. */
function figuresOf(output: string): Map<string, number> {
  const rows = output.matchAll(/^ *(\S.*?) +(\d+)(?: ms)?$/gm)
  return new Map([...rows].map(([, label = '', value]) => [label, Number(value)]))
}

describe('the check of the demonstration', () => {
  it('delivers every event once and in order while its upstream makes every kind of drop', async () => {
    const { code, out } = await demo('--check', '--events', '300', '--seed', '7', '--drop-rate', '0.05')
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

  it('prints its options with --help', async () => {
    const { code, out } = await demo('--help')
    expect(code).to.equal(0)
    for (const option of ['--port', '--check', '--events', '--seed', '--drop-rate', '--help'])
      expect(out).to.include(option)
  })

  for (const [option, value, ...args] of [
    ['--events', 'many', '--check'],
    ['--seed', '1.5', '--check'],
    ['--drop-rate', '2', '--check'],
    ['--port', '65536'],
  ] as const) {
    it(`names ${option} when its value is wrong`, async () => {
      const { code, err } = await demo(...args, `${option}=${value}`)
      expect(code).to.equal(2)
      expect(err).to.include(option).and.to.include(`"${value}"`)
    })
  }

  it('names an option that is not one of the page, or not one of the check', async () => {
    const ofCheck = await demo('--events', '10')
    expect(ofCheck.code).to.equal(2)
    expect(ofCheck.err).to.include('--events').and.to.include('--check')
    const ofPage = await demo('--check', '--port', '8000')
    expect(ofPage.code).to.equal(2)
    expect(ofPage.err).to.include('--port')
  })

  it('names an unknown option', async () => {
    const { code, err } = await demo('--rate', '1')
    expect(code).to.equal(2)
    expect(err).to.include('--rate')
  })
})
