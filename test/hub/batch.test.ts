import { expect } from 'chai'
import { Batch } from '../../src/hub/batch.ts'

/** A batch with texts, and pieces where the text stands in an array. */
function batchOf(most: number, ...parts: readonly (string | readonly [string])[]) {
  const batch = new Batch(most)
  parts.forEach((part, index) => {
    const seq = index + 1
    if (typeof part === 'string') batch.addText(part, seq, `c${seq}`)
    else batch.add({ bytes: Buffer.from(part[0]), first: seq, last: seq, cursor: `c${seq}` })
  })
  const take = () => {
    const piece = batch.take()
    return piece && [`${piece.bytes}`, piece.first, piece.last, piece.cursor]
  }
  return { batch, take }
}

describe('events that wait to be appended', () => {
  it('are taken together as far as they fit, in order, as text or as bytes', () => {
    const { batch, take } = batchOf(6, 'ab', 'cd', ['ef'], 'gh', ['ij'], ['kl'], ['mn'])
    expect(batch.size).to.equal(14)
    expect(take()).to.deep.equal(['abcdef', 1, 3, 'c3'])
    expect(take()).to.deep.equal(['ghijkl', 4, 6, 'c6'])
    expect(batch.size).to.equal(2)
    expect(take()).to.deep.equal(['mn', 7, 7, 'c7'])
    expect(take()).to.equal(undefined)
    expect(batch.size).to.equal(0)
  })

  it('are taken one by one when each is larger than the limit', () => {
    const { take } = batchOf(2, 'abc', ['def'], 'ghi', 'jkl')
    expect([take(), take(), take(), take(), take()]).to.deep.equal([
      ['abc', 1, 1, 'c1'],
      ['def', 2, 2, 'c2'],
      ['ghi', 3, 3, 'c3'],
      ['jkl', 4, 4, 'c4'],
      undefined,
    ])
  })

  it('are not taken together with those before a gap of the upstream', () => {
    for (const isText of [true, false]) {
      const batch = new Batch(100)
      const add = (seq: number) => {
        const text = `${seq}`
        if (isText) batch.addText(text, seq, undefined)
        else batch.add({ bytes: Buffer.from(text), first: seq, last: seq, cursor: undefined })
      }
      const take = () => {
        const piece = batch.take()
        return piece && [`${piece.bytes}`, piece.gap === true]
      }
      batch.addGap()
      add(1)
      add(2)
      batch.addGap()
      batch.addGap()
      for (const seq of [3, 4, 5]) add(seq)
      expect([take(), take(), take()]).to.deep.equal([['12', true], ['345', true], undefined])
      batch.addGap()
      batch.clear()
      add(6)
      expect(take()).to.deep.equal(['6', false])
    }
  })

  it('are forgotten when they are cleared', () => {
    const { batch, take } = batchOf(100, 'ab', ['cd'], 'ef')
    batch.clear()
    expect(batch.size).to.equal(0)
    expect(take()).to.equal(undefined)
  })
})
