import { expect } from 'chai'
import { runNode } from '../support/child.ts'
import { closedSourcesOf, type Sample, trendsOf } from './samples.ts'

const soak = (...args: string[]) => runNode('test/soak/main.ts', args, {}, ['--expose-gc'])

/** Evenly spaced samples with these heap sizes. */
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
  const short = ['--minutes', '0.25', '--relays', '24', '--rate', '60', '--life', '0.4']
  const shorter = ['--minutes', '0.05', '--relays', '20', '--rate', '100', '--life', '0.2']
  const faults = ['heap', 'timer', 'listener', 'event'].flatMap((fault) => ['--break', fault])
  const sharing = ['--minutes', '0.25', '--relays', '24', '--shared', '4', '--rate', '100', '--life', '0.4']
  let sound: ReturnType<typeof soak>
  let shared: ReturnType<typeof soak>
  let faulty: ReturnType<typeof soak>
  before(() => {
    // Side by side: the runs wait most of the time.
    sound = soak(...short)
    shared = soak(...sharing)
    faulty = soak(...shorter, ...faults)
  })

  it('of 15 seconds passes: no event is lost, the heap does not grow, no handle stays open', async () => {
    const { code, out, err } = await sound
    expect(code, out + err).to.equal(0)
    expect(out).to.include('verdict: passed')
    // Every kind of drop occurred.
    for (const kind of ['end', 'reset', 'half', 'unavailable', 'silence', 'replay', 'refused']) {
      expect(out).to.match(new RegExp(` ${kind} [1-9]`))
    }
    expect(out).to.match(/disconnects of clients: [1-9]/)
  }).timeout(400_000)

  it('of 15 seconds passes with many clients on each stream of a hub', async () => {
    const { code, out, err } = await shared
    expect(code, out + err).to.equal(0)
    expect(out).to.include('24 relays of 4 shared streams').and.to.include('verdict: passed')
    expect(out).to.match(/disconnects of clients: [1-9]/)
  }).timeout(400_000)

  it('fails for a heap that grows, a timer that stays, listeners that accumulate, and a lost event', async () => {
    const { code, out } = await faulty
    expect(code, out).to.equal(1)
    const [, verdict] = out.split('verdict: failed')
    expect(verdict).to.include('memory grows: heap by')
    expect(verdict).to.include('left open: 1 × Timeout')
    expect(verdict).to.include('MaxListenersExceededWarning')
    expect(verdict).to.include('at the clients: lost 1')
  }).timeout(300_000)

  it('with a wrong option fails with an error that names the option', async () => {
    const { code, err } = await soak('--break', 'all')
    expect(code).to.equal(2)
    expect(err).to.include('--break').and.to.include('"all"')
  })
})

describe("the soak's verdict", () => {
  const flat = Array.from({ length: 40 }, (_, n) => 100 + (n % 3))

  it('ignores a warm-up and single outliers', () => {
    const [heap] = trendsOf(
      samplesOf(flat.map((size, n) => (n < 20 ? size / 2 : n % 9 === 0 ? size * 2 : size))),
    )
    expect(heap).to.include({ isFlat: true })
  })

  it('detects a heap that grows by more than 5 %', () => {
    const [heap] = trendsOf(samplesOf(flat.map((size, n) => size * (1 + n / 200))))
    expect(heap).to.include({ isFlat: false })
    expect(heap?.growth).to.be.within(0.05, 0.1)
  })

  it('counts the sources of closed relays at the end', () => {
    expect(closedSourcesOf(samplesOf(flat))).to.equal(36.5)
  })
})
