import { expect } from 'chai'
import { RedisPageSize } from '../../src/hub/redis-page-size.ts'
import type { Entry } from '../../src/index.ts'

const page = 63_900

const entriesOf = (size: number, count = 10): Entry[] =>
  Array.from({ length: count }, (_, n) => {
    const place = { epoch: 1, at: 1, first: n + 1, last: n + 1, cursor: undefined }
    return { kind: 'events', ...place, bytes: Buffer.alloc(size) }
  })

describe('how many entries make a page', () => {
  it('follows the size of the entries of most streams', () => {
    const pageSize = new RedisPageSize()
    expect(pageSize.entriesFor('new', page)).to.equal(64)
    for (let n = 0; n < 100; n++) pageSize.note(`stream ${n}`, entriesOf(150))
    expect(pageSize.entriesFor('new', page)).to.equal(512)
    for (let n = 0; n < 200; n++) pageSize.note(`stream ${n}`, entriesOf(2000))
    expect(pageSize.entriesFor('new', page)).to.equal(32)
  })

  it('is that of the stream where its entries are much larger, until they no longer are', () => {
    const pageSize = new RedisPageSize()
    pageSize.note('large', entriesOf(16_000, 1))
    expect(pageSize.entriesFor('large', page)).to.equal(4)
    expect(pageSize.entriesFor('new', page)).to.equal(64)
    pageSize.note('large', entriesOf(1000))
    expect(pageSize.entriesFor('large', page)).to.equal(64)
  })

  it('is remembered for the streams that were read last', () => {
    const pageSize = new RedisPageSize()
    for (let n = 0; n <= 1000; n++) {
      pageSize.note(`stream ${n}`, entriesOf(16_000, 1))
      if (n === 500) pageSize.note('stream 0', entriesOf(16_000, 1))
      for (let usual = 0; usual < 3; usual++) pageSize.note('small', entriesOf(1000, 1))
    }
    const remembered = [0, 1, 2, 1000].map((n) => pageSize.entriesFor(`stream ${n}`, page) < 10)
    expect(remembered).to.deep.equal([true, false, true, true])
  })

  it('is at least one entry and never all of them, and stays as it is without events', () => {
    const pageSize = new RedisPageSize()
    pageSize.note('huge', entriesOf(1_000_000, 1))
    pageSize.note('huge', [{ kind: 'open', epoch: 1, at: 1, previous: undefined }])
    expect(pageSize.entriesFor('huge', page)).to.equal(1)
    for (let n = 0; n < 100; n++) pageSize.note('tiny', entriesOf(0))
    expect(pageSize.entriesFor('tiny', page)).to.equal(8192)
  })
})
