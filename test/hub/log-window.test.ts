import { expect } from 'chai'
import { LogWindow } from '../../src/hub/log-window.ts'
import { pageSize } from '../../src/hub/page.ts'
import type { EventsEntry } from '../../src/hub/store.ts'

const epoch = 7

/** An entry with events from one number to another, each of a size of its own. */
function entry(first: number, last = first, size = 0): EventsEntry {
  const numbers = Array.from({ length: last - first + 1 }, (_, n) => first + n)
  const bytes = Buffer.from(numbers.map((n) => `data: ${n}${'x'.repeat(size)}\n\n`).join(''))
  return { kind: 'events', epoch, at: 0, first, last, bytes, cursor: undefined }
}

const at = (seq: number) => ({ epoch, seq })
const numbersIn = (bytes: Buffer | undefined) =>
  Array.from(`${bytes}`.matchAll(/data: (\d+)/g), ([, n]) => Number(n))

/** A window whose first entries were sent. */
function windowOf(sent: readonly EventsEntry[], unsent: readonly EventsEntry[] = [], mostBytes = 1e9) {
  const window = new LogWindow(mostBytes)
  window.restart(at(0))
  for (const each of sent) window.add(each)
  while (window.hasUnsent) window.takePage()
  for (const each of unsent) window.add(each)
  return window
}

describe('the window of a log', () => {
  it('has pages of the events that were sent, and of no other', () => {
    const window = windowOf([entry(1, 2), entry(3)], [entry(4), entry(5)])
    for (const [after, numbers] of [[1, 2, 3], [2, 3], [3]].map((expected, n) => [n, expected] as const)) {
      const next = window.pageAfter(at(after))
      expect(numbersIn(next?.page.bytes)).to.deep.equal(numbers)
      expect(next?.page.end).to.deep.equal(at(3))
      expect(next?.isJoined).to.equal(after < 2)
    }
    for (const after of [3, 4, 5]) expect(window.pageAfter(at(after))).to.equal(undefined)
    expect(numbersIn(window.takePage().bytes)).to.deep.equal([4, 5])
    expect(numbersIn(window.pageAfter(at(2))?.page.bytes)).to.deep.equal([3, 4, 5])
  })

  it('gives what is unsent in pages, in order: as many entries as fit, and at least one', () => {
    const half = pageSize / 2 - 20
    const window = windowOf(
      [entry(1)],
      [2, 3, 4].map((n) => entry(n, n, half)),
    )
    window.add(entry(5, 5, 2 * pageSize))
    window.add(entry(6))
    const pages: number[][] = []
    while (window.hasUnsent) pages.push(numbersIn(window.takePage().bytes))
    expect(pages).to.deep.equal([[2, 3], [4], [5], [6]])
  })

  it('has no page with a gap of the upstream in its middle, and gives the entries of both sides to a store that has lost them', () => {
    const entries = [entry(1), entry(2), { ...entry(3, 4), gap: true }, entry(5)]
    const unsent = windowOf([], entries)
    const sent = windowOf(entries)
    for (const pages of [
      [unsent.takePage(), unsent.takePage()],
      [sent.pageAfter(at(0))?.page, sent.pageAfter(at(2))?.page],
    ])
      expect(pages.map((page) => [numbersIn(page?.bytes), page?.gap === true])).to.deep.equal([
        [[1, 2], false],
        [[3, 4, 5], true],
      ])
    // Within the entry, the gap is behind the reader.
    expect(sent.pageAfter(at(3))?.page.gap).to.equal(false)
    expect(sent.entriesAfter(at(1))).to.deep.equal(entries.slice(1))
  })

  it('counts the bytes that are unsent', () => {
    const [one, two] = [entry(1), entry(2, 3)]
    const window = windowOf([one], [two, one])
    expect(window.unsentBytes).to.equal(two.bytes.length + one.bytes.length)
    window.takePage()
    expect(window.unsentBytes).to.equal(0)
  })

  it('has the same pages and entries however many events were dropped before', () => {
    const size = entry(10).bytes.length
    const window = windowOf([], [], 20 * size)
    for (let seq = 10; seq < 99; seq++) {
      window.add(entry(seq))
      expect(numbersIn(window.takePage().bytes)).to.deep.equal([seq])
      window.shrink()
      const oldest = Math.max(10, seq - 19)
      expect(window.reaches(at(oldest - 1))).to.equal(true)
      expect(window.reaches(at(oldest - 2))).to.equal(seq < 30)
      const kept = Array.from({ length: seq - oldest + 1 }, (_, n) => oldest + n)
      expect(window.entriesAfter(at(oldest - 1)).map(({ first }) => first)).to.deep.equal(kept)
      expect(numbersIn(window.pageAfter(at(oldest - 1))?.page.bytes)).to.deep.equal(kept)
      expect(window.unsentBytes).to.equal(0)
    }
  })

  it('drops the oldest events until the others fit', () => {
    const entries = [1, 2, 3, 4].map((n) => entry(n))
    const size = entries[0]?.bytes.length ?? 0
    const window = windowOf(entries, [], 2 * size)
    expect(window.reaches(at(0))).to.equal(true)
    window.shrink()
    expect([0, 1, 2, 3].map((seq) => window.reaches(at(seq)))).to.deep.equal([false, false, true, true])
    expect(window.entriesAfter(at(2))).to.deep.equal(entries.slice(2))
    expect(window.entriesAfter(at(3))).to.deep.equal(entries.slice(3))
    window.restart({ epoch: epoch + 1, seq: 0 })
    expect(window.reaches(at(3))).to.equal(false)
    expect(window.entriesAfter({ epoch: epoch + 1, seq: 0 })).to.deep.equal([])
  })
})
