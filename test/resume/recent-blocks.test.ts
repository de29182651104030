import { expect } from 'chai'
import { RecentBlocks } from '../../src/resume/recent-blocks.ts'
import { createRandom, oneOf, wholeBetween } from '../support/flaky-upstream.ts'

describe('RecentBlocks', () => {
  const event = (n: number, size = 20) => `id: ${n}\ndata: ${'x'.repeat(size)}\n\n`
  const textOf = (recent: RecentBlocks) => recent.take().toString()

  for (const size of [20, 200, 5000]) {
    it(`keeps the latest whole blocks in order: events of ${size} bytes`, () => {
      const recent = new RecentBlocks(20_000)
      const all = Array.from({ length: 1000 }, (_, n) => event(n, size))
      for (const each of all) recent.add(Buffer.from(each))
      expect(recent.hasDiscarded()).to.equal(true)
      expect(recent.hasDiscarded()).to.equal(false)
      const kept = textOf(recent)
      expect(kept).to.match(/^id: \d+\n.*\n\n$/s)
      expect(kept.length).to.be.within(20_000 - 2 * event(999, size).length, 20_000)
      expect(all.join('').endsWith(kept)).to.equal(true)
      expect(recent.isEmpty).to.equal(true)
    })
  }

  it('keeps the latest block, whatever its size, and discards it when another follows', () => {
    const recent = new RecentBlocks(1000)
    recent.add(Buffer.from(event(1)))
    recent.add(Buffer.from(event(2, 5000)))
    expect(textOf(recent)).to.equal(event(2, 5000))
    expect(recent.hasDiscarded()).to.equal(true)
    recent.add(Buffer.from(event(3, 5000)))
    recent.add(Buffer.from(event(4, 700)))
    recent.add(Buffer.from(event(5, 100)))
    expect(textOf(recent)).to.equal(event(4, 700) + event(5, 100))
    recent.add(Buffer.from(event(6, 2000)))
    recent.add(Buffer.from(event(7, 2500)))
    expect(textOf(recent)).to.equal(event(7, 2500))
  })

  for (const [name, lineEnd, blankLine] of [
    ['LF', '\n', '\n'],
    ['CRLF', '\r\n', '\r\n'],
    ['CR', '\r', '\r'],
    ['LF and CRLF', '\n', '\r\n'],
    ['CRLF and LF', '\r\n', '\n'],
    ['CR and LF', '\r', '\n'],
  ] as const) {
    const inLines = (n: number) => `id: ${n}${lineEnd}data: x${lineEnd}data: y${lineEnd}${blankLine}`
    // A CR and an LF behind it are one line end.
    const isWhole = name !== 'CR and LF'

    it(`keeps whole blocks whose lines end with ${name}`, () => {
      for (let limit = 100; isWhole && limit < 200; limit++) {
        const recent = new RecentBlocks(limit)
        for (let n = 100; n < 130; n++) recent.add(Buffer.from(inLines(n)))
        const kept = textOf(recent)
        const count = kept.length / inLines(100).length
        expect(count, String(limit)).to.be.within(Math.floor(limit / inLines(100).length) - 1, limit)
        expect(kept).to.equal(Array.from({ length: count }, (_, n) => inLines(130 - count + n)).join(''))
      }
    })

    it(`keeps the end of blocks that are larger than the limit, whose lines end with ${name}`, () => {
      const recent = new RecentBlocks(5000)
      const all = Array.from({ length: 401 }, (_, n) => inLines(n))
      recent.add(Buffer.from(all.slice(0, 400).join('')))
      recent.add(Buffer.from(all.slice(400).join('')))
      const kept = textOf(recent)
      if (isWhole) expect(kept).to.match(/^id: /)
      if (isWhole) expect(kept.length).to.be.within(4900, 5000)
      expect(all.join('').endsWith(kept)).to.equal(true)
    })
  }

  it('discards nothing below the limit, and nothing that fits exactly', () => {
    const recent = new RecentBlocks(1000)
    for (let n = 10; n < 20; n++) recent.add(Buffer.from(event(n, 100 - event(10, 0).length)))
    expect(recent.hasDiscarded()).to.equal(false)
    expect(textOf(recent)).to.have.length(1000)
    recent.add(Buffer.from(event(1, 1000 - event(1, 0).length)))
    recent.add(Buffer.from(event(2, 1000 - event(2, 0).length)))
    expect(recent.hasDiscarded()).to.equal(true)
    expect(textOf(recent)).to.equal(event(2, 1000 - event(2, 0).length))
  })

  it('is empty at first, after its blocks were taken, and when it was cleared', () => {
    const recent = new RecentBlocks(100)
    expect(recent.isEmpty).to.equal(true)
    for (const empty of [() => recent.take(), () => recent.clear()]) {
      for (const size of [1, 60, 200]) {
        recent.add(Buffer.from(event(1, size)))
        expect(recent.isEmpty).to.equal(false)
        empty()
        expect(recent.isEmpty).to.equal(true)
        expect(textOf(recent)).to.equal('')
      }
    }
  })

  it('copies: the caller may use its buffer again', () => {
    for (const size of [10, 5000, 50_000, 200_000]) {
      const recent = new RecentBlocks(65_536)
      const bytes = Buffer.from(event(1, size))
      recent.add(bytes)
      bytes.fill('?')
      expect(recent.latest(4, 5)).to.equal('1')
      expect(textOf(recent)).to.equal(event(1, size))
    }
  })

  it('allocates little memory for few bytes, and none of the limit before it is needed', () => {
    const recent = new RecentBlocks(65_536)
    for (let n = 0; n < 3; n++) recent.add(Buffer.from(event(n, 500)))
    expect(recent.take().buffer.byteLength).to.be.at.most(4096)
    for (let n = 0; n < 20; n++) recent.add(Buffer.from(event(n, 500)))
    expect(recent.take().buffer.byteLength).to.be.at.most(32_768)
  })

  it('keeps at random what a model keeps, and reads parts of the latest blocks', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = createRandom(seed)
      const limit = wholeBetween(20, 3000, random())
      const recent = new RecentBlocks(limit)
      let all = ''
      let largest = 0
      for (let n = wholeBetween(1, 60, random()); n > 0; n--) {
        const count = oneOf([1, 1, 1, 5, 40], random())
        const blocks = Array.from({ length: count }, () =>
          event(n, wholeBetween(0, oneOf([10, 100, 1500], random()), random())),
        )
        const text = blocks.join('')
        largest = Math.max(largest, ...blocks.map(({ length }) => length))
        all += text
        const isKept = recent.add(Buffer.from(text))
        expect(isKept, `seed ${seed}`).to.equal(text.length <= limit || isKept)
        const start = wholeBetween(0, text.length, random())
        const end = wholeBetween(start, text.length, random())
        if (isKept) expect(recent.latest(start, end), `seed ${seed}`).to.equal(text.slice(start, end))
      }
      const kept = textOf(recent)
      expect(all.endsWith(kept), `seed ${seed}`).to.equal(true)
      expect(kept, `seed ${seed}`).to.match(/^id: \d+\ndata: x*\n\n/)
      // A block is kept or discarded as a whole.
      expect(kept.length, `seed ${seed}`).to.be.at.least(Math.min(all.length, limit - 2 * largest))
      expect(recent.hasDiscarded(), `seed ${seed}`).to.equal(kept.length < all.length)
    }
  })
})
