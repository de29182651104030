import { expect } from 'chai'
import fc from 'fast-check'
import { skim, UnreadBlocks } from '../src/unread.ts'
import { boundariesOf, itemsOf, streamBytes } from './support/model.ts'

/** Whole blocks as they may be passed on unread. */
const plainBlocks = streamBytes.map((bytes) => {
  const plain = Buffer.from(
    bytes
      .toString('latin1')
      .replace(/\r\n|\r/g, '\n')
      .replaceAll('\0', '')
      .replaceAll('\xef\xbb\xbf', ''),
    'latin1',
  )
  return plain.subarray(0, boundariesOf(plain).at(-1)?.at ?? 0)
})

/** What the model knows of blocks. */
function known(bytes: Buffer) {
  const blocks = itemsOf(bytes).flatMap((item) => ('block' in item ? [item.block] : []))
  return {
    events: blocks.filter(({ data }) => data !== undefined).length,
    id: blocks.findLast(({ id }) => id !== undefined)?.id,
  }
}

describe('skim', () => {
  it('knows the events and the last id of any blocks', () => {
    fc.assert(
      fc.property(plainBlocks, fc.integer({ min: 0, max: 3 }), (blocks, times) => {
        // One block among many, and many of them, are counted in different ways.
        const bytes = Buffer.concat([blocks, ...Array(times).fill(blocks)])
        expect(skim(bytes)).to.deep.equal(known(bytes))
      }),
      { numRuns: 3000 },
    )
  })

  for (const [text, events, id] of [
    ['data\n\n', 1, undefined],
    ['data:\n\n', 1, undefined],
    ['database: x\n\n', 0, undefined],
    ['\ndatabase: x\n\n', 0, undefined],
    ['\ndata: x\n\n', 1, undefined],
    ['data: x\ndata: y\n\n', 1, undefined],
    [': data\n\ndata: x\n\n', 1, undefined],
    ['id\n\n', 0, ''],
    ['id: 5\n\nid\n\n', 0, ''],
    ['id:  5 \n\nidea: 6\n\n', 0, ' 5 '],
    ['data: id\nid:日本\n\n', 1, '日本'],
    [`id: 5\ndata: ${'x'.repeat(20_000)}\n\n`, 1, '5'],
    [`data: ${'x'.repeat(20_000)}\n\n`, 1, undefined],
    [`id: 1\ndata: x\n\n`.repeat(100), 100, '1'],
  ] as const) {
    it(`finds ${events} events and the id ${id} in ${JSON.stringify(text).slice(0, 40)}`, () => {
      expect(skim(Buffer.from(text))).to.deep.equal({ events, id })
    })
  }
})

describe('UnreadBlocks', () => {
  const event = (n: number, size = 20) => `id: ${n}\ndata: ${'x'.repeat(size)}\n\n`
  const textOf = (pieces: readonly Buffer[]) => Buffer.concat(pieces).toString()

  it('keeps the latest, in order, and of the others their number and last id', () => {
    const unread = new UnreadBlocks(1000)
    for (let n = 1; n <= 200; n++) unread.add(Buffer.from(event(n)))
    const kept = textOf(unread.take())
    const { events, id } = unread.skimmed()
    expect(kept.length).to.be.within(500, 1000)
    expect(kept).to.equal(Array.from({ length: 200 - events }, (_, n) => event(events + 1 + n)).join(''))
    expect(id).to.equal(String(events))
    expect(unread.isEmpty).to.equal(true)
  })

  it('keeps the latest piece, however large, and lets go of it', () => {
    const unread = new UnreadBlocks(1000)
    unread.add(Buffer.from(event(1)))
    unread.add(Buffer.from(event(2, 5000)))
    expect(textOf(unread.take())).to.equal(event(2, 5000))
    expect(unread.skimmed()).to.deep.equal({ events: 1, id: '1' })
    unread.add(Buffer.from(event(3, 5000)))
    unread.add(Buffer.from(event(4)))
    unread.add(Buffer.from(event(5, 2000)))
    expect(textOf(unread.take())).to.equal(event(5, 2000))
    expect(unread.skimmed()).to.deep.equal({ events: 2, id: '4' })
  })

  it('keeps copies', () => {
    const unread = new UnreadBlocks(100_000)
    for (const size of [10, 10_000]) {
      const bytes = Buffer.from(event(1, size))
      unread.add(bytes)
      bytes.fill('!')
    }
    expect(textOf(unread.take())).to.equal(event(1, 10) + event(1, 10_000))
  })

  it('knows of blocks without ids that the last id was that of one before', () => {
    const unread = new UnreadBlocks(100)
    unread.add(Buffer.from(event(7)))
    for (let n = 0; n < 20; n++) unread.add(Buffer.from(`data: ${n} ${'x'.repeat(60)}\n\n`))
    expect(unread.skimmed()).to.include({ id: '7' })
  })

  it('keeps nothing once it is cleared', () => {
    const unread = new UnreadBlocks(1000)
    for (let n = 1; n <= 50; n++) unread.add(Buffer.from(event(n)))
    unread.clear()
    expect(textOf(unread.take())).to.equal('')
    expect(unread.skimmed()).to.deep.equal({ events: 50, id: '50' })
  })
})
