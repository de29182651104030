import { expect } from 'chai'
import fc from 'fast-check'
import { SseError } from '../../src/errors.ts'
import { EventReader } from '../support/event-reader.ts'
import { usedMemory } from '../support/memory.ts'
import {
  boundariesOf,
  chunksOf,
  cuts,
  type Item,
  itemsOf,
  noting,
  streamBytes,
  withoutMark,
} from '../support/model.ts'

const unlimited = 2 ** 31

/** All that a reader finds in chunks, and in the end what it fails with. */
function readAll(chunks: readonly (string | Buffer)[], maxEventSize = unlimited): (Item | SseError)[] {
  const items: Item[] = []
  const reader = new EventReader(maxEventSize, noting(items))
  try {
    for (const chunk of chunks) {
      const bytes = Buffer.from(chunk)
      reader.read(bytes)
      // Whatever is kept of a chunk must be a copy.
      bytes.fill('!')
    }
    reader.end()
  } catch (error) {
    if (error instanceof SseError) return [...items, error]
    throw error
  }
  return items
}

/** What a reader has found after each chunk, before the end. */
function readEach(...chunks: (string | Buffer)[]): Item[][] {
  let found: Item[] = []
  const reader = new EventReader(unlimited, {
    onEvent: (event) => noting(found).onEvent(event),
    onComment: (text) => noting(found).onComment(text),
    onRetry: (milliseconds) => noting(found).onRetry(milliseconds),
  })
  return chunks.map((chunk) => {
    found = []
    reader.read(Buffer.from(chunk))
    return found
  })
}

const x: Item = { block: { data: 'x' } }
const y: Item = { block: { data: 'y' } }
const mark = Buffer.from([0xef, 0xbb, 0xbf])

describe('EventReader', () => {
  describe('against a model of the standard', () => {
    it('reads any stream in any chunks', () => {
      fc.assert(
        fc.property(streamBytes, cuts, (bytes, at) => {
          expect(readAll(chunksOf(bytes, at))).to.deep.equal(itemsOf(bytes))
        }),
        { numRuns: 2000 },
      )
    })

    it('reads any bytes at all', () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), cuts, (bytes, at) => {
          expect(readAll(chunksOf(bytes, at))).to.deep.equal(itemsOf(bytes))
        }),
        { numRuns: 500 },
      )
    })

    it('reads any bytes that have a meaning', () => {
      const meaning = fc.constantFrom(...Buffer.from('\n\n\n\r\r::  idataevent\0\xef\xbb\xbf5', 'latin1'))
      fc.assert(
        fc.property(fc.array(meaning, { maxLength: 60 }), cuts, (bytes, at) => {
          expect(readAll(chunksOf(Buffer.from(bytes), at))).to.deep.equal(itemsOf(Buffer.from(bytes)))
        }),
        { numRuns: 1000 },
      )
    })

    it('has reported, after each chunk, exactly the whole blocks', () => {
      fc.assert(
        fc.property(streamBytes, cuts, (bytes, at) => {
          const boundaries = boundariesOf(bytes)
          const markSize = bytes.length - withoutMark(bytes).length
          const items: Item[] = []
          const reader = new EventReader(unlimited, noting(items))
          let received = 0
          for (const chunk of chunksOf(bytes, at)) {
            reader.read(chunk)
            received += chunk.length
            const whole = boundaries.findLast((boundary) => boundary.at <= received - markSize)
            expect(items).to.deep.equal(itemsOf(bytes.subarray(0, markSize + (whole?.at ?? 0))))
          }
        }),
        { numRuns: 500 },
      )
    })
  })

  describe('the model of the standard', () => {
    // The examples that the standard itself gives.
    const examples: readonly [string, Item[]][] = [
      ['data: YHOO\ndata: +2\ndata: 10\n\n', [{ block: { data: 'YHOO\n+2\n10' } }]],
      [
        ': test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n',
        [
          { comment: 'test stream' },
          { block: { data: 'first event', id: '1' } },
          { block: { data: 'second event', id: '' } },
          { block: { data: ' third event' } },
        ],
      ],
      ['data\n\ndata\ndata\n\ndata:', [{ block: { data: '' } }, { block: { data: '\n' } }]],
      ['data:test\n\ndata: test\n\n', [{ block: { data: 'test' } }, { block: { data: 'test' } }]],
    ]
    for (const [text, items] of examples) {
      it(`agrees with its example ${JSON.stringify(text)}, and so does the reader`, () => {
        expect(itemsOf(Buffer.from(text))).to.deep.equal(items)
        expect(readAll([text])).to.deep.equal(items)
      })
    }
  })

  describe('line ends', () => {
    it('do not delay an event until the byte after a CR', () => {
      expect(readEach('data: x\r', '\r')).to.deep.equal([[], [x]])
      expect(readEach('data: x\r\r', 'data: y\r\r')).to.deep.equal([[x], [y]])
      expect(readEach('data: x\n\r')).to.deep.equal([[x]])
    })

    it('are one for a split CRLF', () => {
      expect(readEach('data: x\r', '\n\r', '\n', 'data: y\r', '\n', '\r\n')).to.deep.equal([
        [],
        [x],
        [],
        [],
        [],
        [y],
      ])
      expect(readEach('data: x\r\n', 'data: y\r\n')).to.deep.equal([[], []])
    })
  })

  describe('byte order mark', () => {
    it('is removed when it is split over three chunks', () => {
      const [first, second, third] = [mark.subarray(0, 1), mark.subarray(1, 2), mark.subarray(2)]
      expect(readEach(first, second, third, 'data: x\n\n').at(-1)).to.deep.equal([x])
    })

    it('is removed once, so that a second mark damages the first line', () => {
      const twice = Buffer.concat([mark, mark, Buffer.from('data: x\ndata: y\n\n')])
      expect(readAll([twice])).to.deep.equal([y])
      expect(readAll(chunksOf(twice, 'everywhere'))).to.deep.equal([y])
    })

    it('is not confused with the characters that its bytes are in Latin-1', () => {
      // U+00EF U+00BB U+00BF, in UTF-8: not a mark, so the first field has a name that nobody knows.
      const text = '\u00ef\u00bb\u00bfdata: x\ndata: y\n\n'
      expect(readAll([text])).to.deep.equal([y])
      expect(readAll(chunksOf(Buffer.from(text), 'everywhere'))).to.deep.equal([y])
    })

    it('is a character like any other within the stream', () => {
      expect(readAll(['data: \ufeffx\n\n', '\ufeff', 'data: x\n\n'])).to.deep.equal([
        { block: { data: '\ufeffx' } },
      ])
    })
  })

  describe('ids', () => {
    it('without data are reported in the order of the wire', () => {
      expect(readAll(['id: 1\n\n: c\nid: 2\n\nretry: 5\ndata: x\n\nid: 3\n\nid: 4\n\n'])).to.deep.equal([
        { block: { id: '1' } },
        { comment: 'c' },
        { block: { id: '2' } },
        { reconnectionTime: 5 },
        x,
        { block: { id: '3' } },
        { block: { id: '4' } },
      ])
    })

    it('without data are reported before an event without an id in the same chunk', () => {
      expect(readAll(['id: 1\n\ndata: x\n\n'])).to.deep.equal([{ block: { id: '1' } }, x])
      expect(readAll(['id: 1\r\rid: 2\rdata: x\r\r'])).to.deep.equal([
        { block: { id: '1' } },
        { block: { id: '2', data: 'x' } },
      ])
    })

    it('without data do not wait for the next chunk', () => {
      expect(readEach('id: 1\n\n', 'data: x\n\n')).to.deep.equal([[{ block: { id: '1' } }], [x]])
    })

    it('with NUL are ignored', () => {
      expect(readAll(['id: 1\0\ndata: x\n\nid: 2\nid: a\0b\n\n'])).to.deep.equal([x, { block: { id: '2' } }])
    })

    it('belong only to their own block', () => {
      expect(readAll(['id: 1\ndata: x\n\ndata: x\n\nid\ndata: x\n\n'])).to.deep.equal([
        { block: { id: '1', data: 'x' } },
        x,
        { block: { id: '', data: 'x' } },
      ])
    })
  })

  describe('retry', () => {
    it('is reported for ASCII digits only', () => {
      const wrong = ['5abc', '-5', '1.5', '', ' 5', '1e3', '٣'].map((value) => `retry: ${value}\n`).join('')
      expect(readAll([`${wrong}retry:007\nretry: 99999999999\n\n`])).to.deep.equal([
        { reconnectionTime: 7 },
        { reconnectionTime: 99999999999 },
      ])
    })

    it('is reported as Infinity when it is beyond all numbers', () => {
      expect(readAll([`retry: ${'9'.repeat(400)}\n\n`])).to.deep.equal([{ reconnectionTime: Infinity }])
    })

    it('is reported at the end when its line is whole and its block is not', () => {
      expect(readAll(['retry: 5\ndata: x\nretry: 6\nretry: 7'])).to.deep.equal([
        { reconnectionTime: 5 },
        { reconnectionTime: 6 },
      ])
      expect(readAll(['id: 1\rretry: 5\r'])).to.deep.equal([{ reconnectionTime: 5 }])
    })
  })

  describe('comments', () => {
    it('before a block are reported at the end of their line', () => {
      expect(readEach(': a\n', ':b', '\n', 'data: x\n\n: c\n')).to.deep.equal([
        [{ comment: 'a' }],
        [],
        [{ comment: 'b' }],
        [x, { comment: 'c' }],
      ])
    })

    it('within a block are reported before it', () => {
      expect(readEach('data: x\n: a\n', '\n')).to.deep.equal([[], [{ comment: 'a' }, x]])
    })
  })

  describe('the end', () => {
    it('discards an unfinished block', () => {
      for (const text of [
        'data: x',
        'data: x\n',
        'id: 1\ndata: x\r\n',
        'id: 1\n',
        'data: x\r',
        '\xef',
        ': a',
      ]) {
        expect(readAll([`data: y\n\n${text}`]), JSON.stringify(text)).to.deep.equal([y])
      }
    })

    it('discards the comments in an unfinished block', () => {
      expect(readAll([': a\ndata: x\n: b\n'])).to.deep.equal([{ comment: 'a' }])
    })

    it('reports nothing after a whole block', () => {
      expect(readAll(['data: x\n\n'])).to.deep.equal([x])
      expect(readAll([])).to.deep.equal([])
    })
  })

  it('replaces invalid UTF-8, and no other bytes', () => {
    const bytes = Buffer.concat([Buffer.from('data: 日'), Buffer.from([0xe6, 0x97]), Buffer.from('\n\n')])
    for (const at of ['everywhere', []] as const) {
      expect(readAll(chunksOf(bytes, at))).to.deep.equal([{ block: { data: '日\ufffd' } }])
    }
  })

  describe('a limit on the size of an event', () => {
    const tooLarge = { name: 'SseError', code: 'ERR_SSE_EVENT_TOO_LARGE' }

    it('accepts a block of exactly that size', () => {
      const block = 'id: 1\ndata: x\n\n'
      expect(readAll([block, block + block], block.length)).to.have.lengthOf(3)
    })

    it('fails at one byte more, after the earlier events', () => {
      const [first, second, ...more] = readAll(['data: x\n\ndata: xx\n\ndata: y\n\n'], 'data: x\n\n'.length)
      expect(first).to.deep.equal(x)
      expect(second).to.be.instanceOf(SseError).and.to.include(tooLarge)
      expect(more).to.deep.equal([])
    })

    it('fails before an endless block fills memory', () => {
      const chunk = 'data: '.padEnd(1024, 'x')
      const reader = new EventReader(10 * 1024, noting([]))
      for (let n = 0; n < 10; n++) reader.read(Buffer.from(chunk))
      expect(() => reader.read(Buffer.from('x')))
        .to.throw(SseError)
        .with.property('code', tooLarge.code)
    })

    it('has the same result in any chunks', () => {
      fc.assert(
        fc.property(streamBytes, cuts, fc.integer({ min: 2, max: 60 }), (bytes, at, limit) => {
          const boundaries = boundariesOf(bytes)
          const markSize = bytes.length - withoutMark(bytes).length
          const failing = boundaries.findIndex(({ size }) => size > limit)
          const end = boundaries.at(failing === -1 ? boundaries.length - 1 : failing - 1)
          const whole = markSize + ((failing === 0 ? undefined : end)?.at ?? 0)
          const found = readAll(chunksOf(bytes, at), limit)
          if (failing === -1 && bytes.length - whole <= limit) {
            expect(found).to.deep.equal(itemsOf(bytes))
          } else {
            expect(found.pop()).to.be.instanceOf(SseError).and.to.include(tooLarge)
            expect(found).to.deep.equal(itemsOf(bytes.subarray(0, whole)))
          }
        }),
        { numRuns: 2000 },
      )
    })
  })

  describe('a large block', () => {
    const mebibyte = 1024 * 1024

    it('of one line of 1 MiB is read in one chunk and in many chunks', () => {
      const data = 'é'.repeat(mebibyte / 2)
      const bytes = Buffer.from(`data: ${data}\n\n`)
      const chunks = Array.from({ length: Math.ceil(bytes.length / 1021) }, (_, n) =>
        bytes.subarray(n * 1021, (n + 1) * 1021),
      )
      for (const each of [[bytes], chunks]) {
        const [item, ...more] = readAll(each)
        expect(item !== undefined && 'block' in item && item.block.data === data).to.equal(true)
        expect(more).to.deep.equal([])
      }
    })

    it('that arrives byte by byte takes about its own size of memory, which is free after it was read', async () => {
      const items: Item[] = []
      const reader = new EventReader(2 * mebibyte, noting(items))
      const before = await usedMemory()
      reader.read(Buffer.from('data: '))
      for (let n = 0; n < mebibyte; n++) reader.read(Buffer.of(120))
      expect((await usedMemory()) - before).to.be.within(0.5 * mebibyte, 4 * mebibyte)
      reader.read(Buffer.from('\n\n'))
      expect(items.splice(0)).to.have.lengthOf(1)
      reader.read(Buffer.from('data: x\n\n'))
      expect((await usedMemory()) - before).to.be.below(mebibyte / 2)
      expect(items).to.deep.equal([x])
    })
  })

  it('throws the error of a callback', () => {
    const thrown = new Error('mine')
    const fail = () => {
      throw thrown
    }
    const none = { onEvent: () => {}, onComment: () => {}, onRetry: () => {} }
    const texts = { onEvent: 'data: x\n\n', onComment: ': x\n', onRetry: 'retry: 5\n\n' }
    for (const name of ['onEvent', 'onComment', 'onRetry'] as const) {
      const reader = new EventReader(unlimited, { ...none, [name]: fail })
      expect(() => reader.read(Buffer.from(texts[name])), name).to.throw(thrown)
    }
    const idOnly = new EventReader(unlimited, { ...none, onEvent: fail })
    expect(() => idOnly.read(Buffer.from('id: 1\n\n'))).to.throw(thrown)
  })
})
