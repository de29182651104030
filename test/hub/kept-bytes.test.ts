import { expect } from 'chai'
import { keptCopy } from '../../src/hub/kept-bytes.ts'

describe('a copy of bytes to be kept', () => {
  it('has the bytes, whatever follows in its memory, and whatever becomes of the original', () => {
    const sizes = [0, 1, 170, 1023, 1024, 1025, 4095, 4096, 4097, 64_000]
    const copies = sizes.flatMap((size, n) => {
      const bytes = Buffer.alloc(size, n + 1)
      const each = Array.from({ length: 9 }, () => keptCopy(bytes))
      bytes.fill(0)
      return each.map((copy) => ({ copy, expected: Buffer.alloc(size, n + 1) }))
    })
    for (const { copy, expected } of copies) expect(copy.equals(expected)).to.equal(true)
  })

  it('keeps a page of memory at most besides itself, which small copies share', () => {
    for (const size of [1, 170, 1024, 1025, 64_000]) {
      expect(keptCopy(Buffer.alloc(size)).buffer.byteLength).to.be.at.most(Math.max(4096, size))
    }
    const buffers = new Set(Array.from({ length: 240 }, () => keptCopy(Buffer.alloc(170)).buffer))
    expect(buffers.size).to.be.at.most(11)
  })
})
