import { expect } from 'chai'
import { startNode } from '../support/child.ts'
import { closedSourcesOf, type Sample, trendsOf } from './samples.ts'

const soak = (...args: string[]) => startNode(['--expose-gc', 'test/soak/main.ts', ...args]).ended

/** Samples of a run whose heap has these sizes, evenly spaced. */
function samplesOf(heap: readonly number[]): Sample[] {
  return heap.map((heapUsed, n) => ({
    at: n / heap.length,
    heapUsed,
    closedSources: n,
    external: 0,
    arrayBuffers: 0,
    heapTotal: 0,
    rss: 0,
  }))
}

describe('the soak', () => {
  const short = ['--minutes', '0.333', '--relays', '40', '--rate', '60', '--life', '0.4']
  const shorter = ['--minutes', '0.05', '--relays', '20', '--rate', '100', '--life', '0.2']
  const faults = ['heap', 'timer', 'listener', 'event'].flatMap((fault) => ['--break', fault])
  let sound: ReturnType<typeof soak>
  let faulty: ReturnType<typeof soak>
  before(() => {
    // Both wait most of the time.
    sound = soak(...short)
    faulty = soak(...shorter, ...faults)
  })

  it('of 20 seconds passes: nothing lost, the heap flat, nothing left open', async () => {
    const { code, out, err } = await sound
    expect(code, out + err).to.equal(0)
    expect(out).to.include('verdict: passed')
    // It was about something.
    for (const kind of ['end', 'reset', 'half', 'unavailable', 'silence', 'replay', 'refused']) {
      expect(out).to.match(new RegExp(` ${kind} [1-9]`))
    }
    expect(out).to.match(/came back: [1-9]/)
  }).timeout(400_000)

  it('fails for a heap that grows, a timer that stays, listeners that heap up, an event that never comes', async () => {
    const { code, out } = await faulty
    expect(code, out).to.equal(1)
    const [, verdict] = out.split('verdict: failed')
    expect(verdict).to.include('memory is not flat: heap grew')
    expect(verdict).to.include('left open: 1 × Timeout')
    expect(verdict).to.include('MaxListenersExceededWarning')
    expect(verdict).to.include('at the clients: lost 1')
  }).timeout(200_000)

  it('names an option whose value is wrong', async () => {
    const { code, err } = await soak('--break', 'all')
    expect(code).to.equal(2)
    expect(err).to.include('--break').and.to.include('"all"')
  })
})

describe("the soak's verdict", () => {
  const flat = Array.from({ length: 40 }, (_, n) => 100 + (n % 3))

  it('does not mind a warm-up, nor single samples that are off', () => {
    const [heap] = trendsOf(
      samplesOf(flat.map((size, n) => (n < 20 ? size / 2 : n % 9 === 0 ? size * 2 : size))),
    )
    expect(heap).to.include({ isFlat: true })
  })

  it('finds a heap that grows by more than 5 %', () => {
    const [heap] = trendsOf(samplesOf(flat.map((size, n) => size * (1 + n / 200))))
    expect(heap).to.include({ isFlat: false })
    expect(heap?.growth).to.be.within(0.05, 0.1)
  })

  it('counts the sources of closed relays at the end', () => {
    expect(closedSourcesOf(samplesOf(flat))).to.equal(36.5)
  })
})
