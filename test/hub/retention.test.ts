import { expect } from 'chai'
import fc from 'fast-check'
import { Retention } from '../../src/hub/retention.ts'
import type { EventsEntry } from '../../src/hub/store.ts'

const large = { events: 1000, bytes: 1_000_000, age: undefined }

function entry(first: number, last: number, bytes = 1, at = 0): EventsEntry {
  return { kind: 'events', epoch: 5, at, first, last, bytes: Buffer.alloc(bytes), cursor: undefined }
}

describe('the retention of a shared log', () => {
  it('counts events, and names the oldest entry that is kept', () => {
    const retention = new Retention({ ...large, events: 4 })
    expect(retention.add(entry(1, 2))).to.equal(undefined)
    expect(retention.add(entry(3, 4))).to.equal(undefined)
    expect(retention.add(entry(5, 5))).to.deep.equal({ epoch: 5, seq: 4 })
    expect(retention.add(entry(6, 6))).to.equal(undefined)
    expect(retention.add(entry(7, 10))).to.deep.equal({ epoch: 5, seq: 10 })
  })

  it('counts bytes', () => {
    const retention = new Retention({ ...large, bytes: 100 })
    expect(retention.add(entry(1, 1, 60))).to.equal(undefined)
    expect(retention.add(entry(2, 2, 40))).to.equal(undefined)
    expect(retention.add(entry(3, 3, 1))).to.deep.equal({ epoch: 5, seq: 2 })
  })

  it('keeps events up to their age', () => {
    const retention = new Retention({ ...large, age: 100 })
    retention.add(entry(1, 1, 1, 1000))
    retention.add(entry(2, 2, 1, 1050))
    expect(retention.add(entry(3, 3, 1, 1100))).to.equal(undefined)
    expect(retention.add(entry(4, 4, 1, 1101))).to.deep.equal({ epoch: 5, seq: 2 })
    expect(retention.add(entry(5, 5, 1, 2000))).to.deep.equal({ epoch: 5, seq: 5 })
  })

  it('keeps the latest entry, however large it is', () => {
    const retention = new Retention({ ...large, events: 1, bytes: 1 })
    expect(retention.add(entry(1, 9, 500))).to.equal(undefined)
    expect(retention.add(entry(10, 19, 500))).to.deep.equal({ epoch: 5, seq: 19 })
  })

  it('keeps the longest end of the log that is within the limits', () => {
    const sizes = fc.array(fc.record({ events: fc.integer({ min: 1, max: 5 }), bytes: fc.nat(50) }), {
      maxLength: 40,
    })
    const limits = fc.record({
      events: fc.integer({ min: 1, max: 30 }),
      bytes: fc.integer({ min: 1, max: 300 }),
    })
    fc.assert(
      fc.property(sizes, limits, (sizes, limits) => {
        const retention = new Retention({ ...limits, age: undefined })
        const entries: EventsEntry[] = []
        let start = 0
        for (const { events, bytes } of sizes) {
          const first = (entries.at(-1)?.last ?? 0) + 1
          const added = entry(first, first + events - 1, bytes)
          entries.push(added)
          const before = retention.add(added)
          if (before) start = entries.findIndex(({ last }) => last >= before.seq)
          expect(start).to.equal(expectedStart(entries, limits))
        }
      }),
    )
  })
})

function expectedStart(entries: readonly EventsEntry[], limits: { events: number; bytes: number }): number {
  let [events, bytes] = [0, 0]
  for (const [index, { first, last, bytes: body }] of [...entries.entries()].reverse()) {
    events += last - first + 1
    bytes += body.length
    if (index < entries.length - 1 && (events > limits.events || bytes > limits.bytes)) return index + 1
  }
  return 0
}
