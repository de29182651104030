import { expect } from 'chai'
import { runNode } from '../support/child.ts'
import { flawsOf, spreadsOf } from './delays.ts'

const stampede = (...args: string[]) => runNode('test/stampede/main.ts', args)

const options = { baseDelay: 1000, maxDelay: 30_000, jitter: 0.1 }

/** The flaws of first delays after a reset. */
function flawsIn(delays: readonly number[]): string[] {
  const common = { attempt: 0, source: 'backoff', retryAfter: undefined, openFor: [5000, 5000] } as const
  return spreadsOf(
    options,
    delays.map((delay) => ({ ...common, delay })),
  ).flatMap(flawsOf)
}

describe('a stampede', () => {
  it('of streams that drop at the same moment has spread delays, and each stream resumes', async () => {
    const { code, out, err } = await stampede('--streams', '200', '--base', '100')
    expect(code, out + err).to.equal(0)
    expect(out).to.include('verdict: passed')
    for (const source of ['backoff', 'clean-end', 'retry-after']) expect(out).to.include(`${source}, attempt`)
  }).timeout(300_000)

  it('without jitter fails the check of the spread', async () => {
    const { code, out } = await stampede('--streams', '200', '--base', '100', '--jitter', '0')
    expect(code, out).to.equal(1)
    expect(out).to.include('backoff, attempt 0: the delays are not spread')
    expect(out).to.include('clean-end, attempt 0: the delays are not spread')
  }).timeout(300_000)

  it('with a wrong option fails with an error that names the option', async () => {
    const { code, err } = await stampede('--streams', 'many')
    expect(code).to.equal(2)
    expect(err).to.include('--streams').and.to.include('"many"')
  })

  it('with more streams than allowed open files fails with an error that says so', async () => {
    const { code, out } = await runNode('test/stampede/main.ts', ['--streams', '100000'])
    expect(code).to.equal(1)
    expect(out).to.include('open files')
  })

  it('fails the check for a delay out of bounds, and for an uneven spread', () => {
    const even = Array.from({ length: 2000 }, (_, n) => 1000 - n / 20)
    expect(flawsIn(even)).to.deep.equal([])
    expect(flawsIn([...even.slice(1), 1000.1])).to.have.length(1)
    expect(flawsIn([...even.slice(1), 899.9])).to.have.length(1)
    // Two thirds of the delays of one tenth move to the next tenth.
    expect(flawsIn(even.map((delay) => (delay > 996.7 || delay <= 990 ? delay : delay - 10)))).to.have.length(
      1,
    )
  })
})
