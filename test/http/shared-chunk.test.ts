import { expect } from 'chai'
import { chunkOf } from '../../src/http/chunk-frame.ts'
import { joinedForMany, sharedChunkOf } from '../../src/http/shared-chunk.ts'

describe('bytes that are written to many responses', () => {
  it('lie within their chunk where they are large, and are the same bytes as without', () => {
    for (const sizes of [[16_385], [10_000, 6385], [1, 0, 63_899], [70_000, 2_000_000]]) {
      const parts = sizes.map((size, n) => Buffer.alloc(size, 97 + n))
      const joined = joinedForMany(parts)
      expect(joined.equals(Buffer.concat(parts)), `the bytes of ${sizes}`).to.equal(true)
      const chunk = sharedChunkOf(joined)
      expect(chunk.equals(chunkOf(joined)), `the chunk of ${sizes}`).to.equal(true)
      expect(chunk.buffer, `the memory of ${sizes}`).to.equal(joined.buffer)
      expect(sharedChunkOf(joined)).to.equal(chunk)
    }
  })

  it('are joined without a chunk where they are small', () => {
    expect(joinedForMany([]).length).to.equal(0)
    expect(joinedForMany([Buffer.from('a'), Buffer.from('bc')]).toString()).to.equal('abc')
  })

  it('have one chunk, also where they were not joined', () => {
    const bytes = Buffer.alloc(20_000, 'x')
    const chunk = sharedChunkOf(bytes)
    expect(chunk.equals(chunkOf(bytes))).to.equal(true)
    expect(sharedChunkOf(bytes)).to.equal(chunk)
  })
})
