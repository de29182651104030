import { expect } from 'chai'
import { lostAfter, Tally } from '../../src/demo/page/tally.ts'

/** An event each 200 ms. */
const at = (serial: number) => serial * 200

/** A tally to which these events have arrived, in the moment when they were published. */
function tallyOf(...serials: readonly number[]): Tally {
  const tally = new Tally()
  for (const serial of serials) tally.arrive(serial, at(serial), at(serial))
  return tally
}

describe("the page's count of events", () => {
  it('counts events that arrive in order, from the first one on', () => {
    const tally = tallyOf(7, 8, 9)
    expect(tally).to.include({ received: 3, twice: 0, latency: 0, longest: 0 })
    expect(tally.lost(at(9) + 2 * lostAfter)).to.equal(0)
  })

  it('counts an event as lost only when it is missing for long, and no longer when it arrives', () => {
    const tally = tallyOf(1, 2, 5)
    // The events between were published before the later one that arrived.
    expect(tally.lost(at(5) + lostAfter)).to.equal(0)
    const now = at(5) + lostAfter + 1
    expect(tally.lost(now)).to.equal(2)
    expect(tally.arrive(3, at(3), now)).to.equal(true)
    expect(tally.lost(now)).to.equal(1)
    expect(tally).to.include({ received: 4, twice: 0 })
    expect(tally.longest).to.equal(now - at(3))
  })

  it('counts what was published and has not arrived, whichever is known first', () => {
    const tally = tallyOf(1)
    tally.publish(2, at(2))
    tally.publish(3, at(3))
    tally.arrive(2, at(2), at(3))
    tally.publish(2, at(2))
    expect(tally.lost(at(3) + lostAfter + 1)).to.equal(1)
    expect(tally).to.include({ received: 2, twice: 0, latency: 200 })
  })

  it('counts an event that arrives again, and not what was published before the first arrival', () => {
    const tally = new Tally()
    expect(tally.publish(1, at(1))).to.equal(false)
    tally.arrive(2, at(2), at(2))
    expect(tally.arrive(2, at(2), at(4))).to.equal(false)
    expect(tally).to.include({ received: 1, twice: 1, latency: 0 })
    expect(tally.lost(at(2) + 2 * lostAfter)).to.equal(0)
    tally.arrive(1, at(1), at(5))
    expect(tally).to.include({ received: 1, twice: 1 })
  })
})
