import { expect } from 'chai'
import { RecentBlocks } from '../../src/resume/recent-blocks.ts'

describe('RecentBlocks', () => {
  const event = (n: number, size = 20) => `id: ${n}\ndata: ${'x'.repeat(size)}\n\n`
  const textOf = (pieces: readonly Buffer[]) => Buffer.concat(pieces).toString()

  for (const size of [20, 200, 5000]) {
    it(`keeps the latest blocks in order, each within one piece: events of ${size} bytes`, () => {
      const recent = new RecentBlocks(20_000)
      const all = Array.from({ length: 1000 }, (_, n) => event(n, size))
      for (const each of all) recent.add(Buffer.from(each))
      expect(recent.hasDiscarded()).to.equal(true)
      expect(recent.hasDiscarded()).to.equal(false)
      const pieces = recent.take()
      for (const piece of pieces) expect(piece.toString()).to.match(/^id: \d+\n.*\n\n$/s)
      const kept = textOf(pieces)
      expect(kept.length).to.be.within(10_000, 20_000)
      expect(all.join('').endsWith(kept)).to.equal(true)
      expect(recent.isEmpty).to.equal(true)
    })
  }

  it('keeps the latest piece, whatever its size, and discards it when another follows', () => {
    const recent = new RecentBlocks(1000)
    recent.add(Buffer.from(event(1)))
    recent.add(Buffer.from(event(2, 5000)))
    expect(textOf(recent.take())).to.equal(event(2, 5000))
    expect(recent.hasDiscarded()).to.equal(true)
    recent.add(Buffer.from(event(3, 5000)))
    recent.add(Buffer.from(event(4)))
    recent.add(Buffer.from(event(5, 2000)))
    expect(textOf(recent.take())).to.equal(event(5, 2000))
  })

  it('keeps at least half of the limit, unless events are larger', () => {
    const recent = new RecentBlocks(20_000)
    const large = Array.from({ length: 400 }, (_, n) => event(n)).join('')
    recent.add(Buffer.from(large))
    recent.add(Buffer.from(event(400)))
    const kept = textOf(recent.take())
    expect(kept.length).to.be.within(10_000, 20_000)
    expect(kept).to.match(/^id: /)
    expect(`${large}${event(400)}`.endsWith(kept)).to.equal(true)
  })

  for (const [name, lineEnd] of Object.entries({ CRLF: '\r\n', CR: '\r' })) {
    it(`keeps at least half of the limit also of blocks whose lines end with ${name}`, () => {
      const recent = new RecentBlocks(20_000)
      const all = Array.from({ length: 401 }, (_, n) => event(n).replaceAll('\n', lineEnd))
      recent.add(Buffer.from(all.slice(0, 400).join('')))
      recent.add(Buffer.from(all.slice(400).join('')))
      const kept = textOf(recent.take())
      expect(kept.length).to.be.within(10_000, 20_000)
      expect(kept).to.match(/^id: /)
      expect(all.join('').endsWith(kept)).to.equal(true)
    })
  }

  for (const [first, second, least, most] of [
    [8_000, 15_000, 15_000, 15_000],
    [15_000, 8_000, 10_000, 20_000],
  ] as const) {
    it(`keeps ${least} to ${most} of ${first} and ${second} bytes with a limit of 20,000`, () => {
      const recent = new RecentBlocks(20_000)
      const all = [first, second].map((size) => 'data: xx\n\n'.repeat(size / 10))
      for (const piece of all) recent.add(Buffer.from(piece))
      const kept = textOf(recent.take())
      expect(kept.length).to.be.within(least, most)
      expect(all.join('').endsWith(kept)).to.equal(true)
    })
  }

  it('does not keep a large buffer in memory for a small piece', () => {
    const recent = new RecentBlocks(100_000)
    const large = Buffer.alloc(50_000)
    large.set(Buffer.from(event(1, 5000)))
    recent.add(large.subarray(0, event(1, 5000).length))
    recent.add(large.subarray(0, event(1, 5000).length))
    for (const piece of recent.take()) expect(piece.buffer.byteLength).to.be.below(20_000)
  })

  for (const [size, of, isKept] of [
    [4096, 4096, true],
    [4095, 4095, false],
    [4096, 8192, true],
    [4096, 8193, false],
  ] as const) {
    it(`${isKept ? 'keeps by reference' : 'copies'} a piece of ${size} bytes in a buffer of ${of}`, () => {
      const recent = new RecentBlocks(100_000)
      const buffer = Buffer.alloc(of, '\n')
      recent.add(buffer.subarray(0, size))
      const [piece] = recent.take()
      expect(piece?.length).to.equal(size)
      expect(piece?.buffer === buffer.buffer).to.equal(isKept)
    })
  }

  it('is empty at first, and after its pieces were taken', () => {
    const recent = new RecentBlocks(100)
    expect(recent.isEmpty).to.equal(true)
    recent.add(Buffer.from('data\n\n'))
    expect(recent.isEmpty).to.equal(false)
    recent.take()
    expect(recent.isEmpty).to.equal(true)
    expect(recent.take()).to.deep.equal([])
  })

  for (const [limit, isWhole] of [
    [10_000, true],
    [9_999, false],
  ] as const) {
    it(`keeps ${isWhole ? 'all' : 'not all'} of two pieces of 5,000 bytes with a limit of ${limit}`, () => {
      const recent = new RecentBlocks(limit)
      for (const n of [1, 2]) recent.add(Buffer.from(event(n, 4986)))
      expect(textOf(recent.take())).to.have.length(isWhole ? 10_000 : 5_000)
      expect(recent.hasDiscarded()).to.equal(!isWhole)
    })
  }

  it('allocates little memory for few bytes', () => {
    const recent = new RecentBlocks(65_536)
    recent.add(Buffer.from(event(1)))
    expect(recent.take()[0]?.buffer.byteLength).to.be.at.most(256)
  })

  it('discards nothing below the limit', () => {
    const recent = new RecentBlocks(1000)
    for (let n = 1; n <= 10; n++) recent.add(Buffer.from(event(n)))
    expect(recent.hasDiscarded()).to.equal(false)
    expect(textOf(recent.take())).to.equal(Array.from({ length: 10 }, (_, n) => event(n + 1)).join(''))
  })
})
