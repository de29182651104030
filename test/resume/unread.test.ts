import { expect } from 'chai'
import { UnreadBlocks } from '../../src/resume/unread.ts'

describe('UnreadBlocks', () => {
  const event = (n: number, size = 20) => `id: ${n}\ndata: ${'x'.repeat(size)}\n\n`
  const textOf = (pieces: readonly Buffer[]) => Buffer.concat(pieces).toString()

  for (const size of [20, 200, 5000]) {
    it(`keeps the latest, in order, each whole in one piece: events of ${size} bytes`, () => {
      const unread = new UnreadBlocks(20_000)
      const all = Array.from({ length: 1000 }, (_, n) => event(n, size))
      for (const each of all) unread.add(Buffer.from(each))
      expect(unread.haveGone()).to.equal(true)
      expect(unread.haveGone()).to.equal(false)
      const pieces = unread.take()
      for (const piece of pieces) expect(piece.toString()).to.match(/^id: \d+\n.*\n\n$/s)
      const kept = textOf(pieces)
      expect(kept.length).to.be.within(10_000, 20_000)
      expect(all.join('').endsWith(kept)).to.equal(true)
      expect(unread.isEmpty).to.equal(true)
    })
  }

  it('keeps the latest piece, however large, and lets go of it', () => {
    const unread = new UnreadBlocks(1000)
    unread.add(Buffer.from(event(1)))
    unread.add(Buffer.from(event(2, 5000)))
    expect(textOf(unread.take())).to.equal(event(2, 5000))
    expect(unread.haveGone()).to.equal(true)
    unread.add(Buffer.from(event(3, 5000)))
    unread.add(Buffer.from(event(4)))
    unread.add(Buffer.from(event(5, 2000)))
    expect(textOf(unread.take())).to.equal(event(5, 2000))
  })

  it('keeps at least half of the limit, where events are no larger than that', () => {
    const unread = new UnreadBlocks(20_000)
    const large = Array.from({ length: 400 }, (_, n) => event(n)).join('')
    unread.add(Buffer.from(large))
    unread.add(Buffer.from(event(400)))
    const kept = textOf(unread.take())
    expect(kept.length).to.be.within(10_000, 20_000)
    expect(kept).to.match(/^id: /)
    expect(`${large}${event(400)}`.endsWith(kept)).to.equal(true)
  })

  it('keeps no more than it has to of a large buffer alive', () => {
    const unread = new UnreadBlocks(100_000)
    const large = Buffer.alloc(50_000)
    large.set(Buffer.from(event(1, 5000)))
    unread.add(large.subarray(0, event(1, 5000).length))
    unread.add(large.subarray(0, event(1, 5000).length))
    for (const piece of unread.take()) expect(piece.buffer.byteLength).to.be.below(20_000)
  })

  it('takes little room for little', () => {
    const unread = new UnreadBlocks(65_536)
    unread.add(Buffer.from(event(1)))
    expect(unread.take()[0]?.buffer.byteLength).to.be.at.most(256)
  })

  it('has nothing to let go of as long as there is room', () => {
    const unread = new UnreadBlocks(1000)
    for (let n = 1; n <= 10; n++) unread.add(Buffer.from(event(n)))
    expect(unread.haveGone()).to.equal(false)
    expect(textOf(unread.take())).to.equal(Array.from({ length: 10 }, (_, n) => event(n + 1)).join(''))
  })
})
