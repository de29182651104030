import { expect } from 'chai'
import fc from 'fast-check'
import { BlockCutter } from '../../src/wire/blocks.ts'
import { boundariesOf, chunksOf, cuts, streamBytes, withoutMark } from '../support/model.ts'

const unlimited = 2 ** 31

/** What comes out for each chunk; undefined where nothing was whole. */
function cutAll(cutter: BlockCutter, chunks: readonly (string | Buffer)[]): (string | undefined)[] {
  return chunks.map((chunk) => {
    const runs = cutter.cut(Buffer.from(chunk))
    return runs.length === 0 ? undefined : textOf(runs)
  })
}

const textOf = (runs: readonly Buffer[]) => Buffer.concat(runs).toString('latin1')

function cutText(...chunks: (string | Buffer)[]): (string | undefined)[] {
  return cutAll(new BlockCutter(unlimited), chunks)
}

describe('BlockCutter', () => {
  it('gives whole blocks and keeps the rest', () => {
    const cutter = new BlockCutter(unlimited)
    expect(cutAll(cutter, ['id: 1\nda', 'ta: x\n\nid: 2\ndata: y\n\ndata:'])).to.deep.equal([
      undefined,
      'id: 1\ndata: x\n\nid: 2\ndata: y\n\n',
    ])
    expect(cutter.rest().toString()).to.equal('data:')
    expect(cutter.rest().toString()).to.equal('')
  })

  it('gives a view of the chunk where that holds whole blocks only', () => {
    const chunk = Buffer.from('data: x\n\n')
    expect(new BlockCutter(unlimited).cut(chunk)[0]?.buffer).to.equal(chunk.buffer)
  })

  it('does not wait for the byte behind a CR', () => {
    expect(cutText('data: x\r\r')).to.deep.equal(['data: x\r\r'])
    expect(cutText('data: x\r', '\r')).to.deep.equal([undefined, 'data: x\r\r'])
    expect(cutText('data: x\n\r')).to.deep.equal(['data: x\n\r'])
    expect(cutText(': x\r')).to.deep.equal([': x\r'])
  })

  it('takes a CRLF that is cut in two for one line end', () => {
    expect(cutText('data: x\r', '\n', 'data: y\r', '\n', '\r', '\n')).to.deep.equal([
      undefined,
      undefined,
      undefined,
      undefined,
      'data: x\r\ndata: y\r\n\r',
      '\n',
    ])
    expect(cutText('data: x\r', '\n\r', '\n')).to.deep.equal([undefined, 'data: x\r\n\r', '\n'])
    expect(cutText(': x\r', '\ndata: y')).to.deep.equal([': x\r', '\n'])
  })

  it('takes LF CR for two line ends', () => {
    expect(cutText('data: x\n', '\r', 'data: y')).to.deep.equal([undefined, 'data: x\n\r', undefined])
  })

  it('gives a comment in front of a block at the end of its line', () => {
    expect(cutText(': a\n')).to.deep.equal([': a\n'])
    expect(cutText('data: x\n\n: a\n:b\n: c')).to.deep.equal(['data: x\n\n: a\n:b\n'])
    expect(cutText(': a', ' b', '\n', ': c\ndata: x\n')).to.deep.equal([
      undefined,
      undefined,
      ': a b\n',
      ': c\n',
    ])
  })

  it('keeps a comment within a block', () => {
    expect(cutText('data: x\n', ': a\n', '\n')).to.deep.equal([undefined, undefined, 'data: x\n: a\n\n'])
    expect(cutText('data: x\r', ': a\r', '\r')).to.deep.equal([undefined, undefined, 'data: x\r: a\r\r'])
  })

  it('gives blank lines on', () => {
    expect(cutText('\n', '\n\n', '\r', '\n', 'data: x\n')).to.deep.equal([
      '\n',
      '\n\n',
      '\r',
      '\n',
      undefined,
    ])
  })

  describe('byte order mark', () => {
    const mark = Buffer.from([0xef, 0xbb, 0xbf])

    it('is taken off the start of the stream', () => {
      expect(cutText(Buffer.concat([mark, Buffer.from('data: x\n\n')]))).to.deep.equal(['data: x\n\n'])
    })

    it('is taken off when it comes byte by byte, with empty chunks in between', () => {
      const chunks = [mark.subarray(0, 1), '', mark.subarray(1, 2), mark.subarray(2), ':x\n']
      expect(cutText(...chunks)).to.deep.equal([undefined, undefined, undefined, undefined, ':x\n'])
    })

    it('is taken off once', () => {
      expect(cutText(Buffer.concat([mark, mark, Buffer.from('\n\n')]))).to.deep.equal(['\xef\xbb\xbf\n\n'])
      expect(cutText(mark, mark, '\n\n')).to.deep.equal([undefined, undefined, '\xef\xbb\xbf\n\n'])
    })

    it('stays where it is not at the start', () => {
      expect(cutText('\n', mark, '\n\n')).to.deep.equal(['\n', undefined, '\xef\xbb\xbf\n\n'])
    })

    it('leaves what only begins like one', () => {
      expect(cutText(mark.subarray(0, 2), '\n\n')).to.deep.equal([undefined, '\xef\xbb\n\n'])
      expect(cutText(Buffer.from([0xef, 0xbb, 0x0a, 0x0a]))).to.deep.equal(['\xef\xbb\n\n'])
    })
  })

  it('does not hold on to the chunks that it keeps the rest of', () => {
    const cutter = new BlockCutter(unlimited)
    for (const text of ['data: x', '\ndata: y', '\n']) {
      const chunk = Buffer.from(text)
      cutter.cut(chunk)
      chunk.fill('!')
    }
    expect(textOf(cutter.cut(Buffer.from('\n')))).to.equal('data: x\ndata: y\n\n')
  })

  it('gives, of any stream in any chunks, all that is whole by then, and no more', () => {
    fc.assert(
      fc.property(streamBytes, cuts, (bytes, at) => {
        const boundaries = boundariesOf(bytes)
        const text = Buffer.from(withoutMark(bytes)).toString('latin1')
        const markSize = bytes.length - text.length
        const cutter = new BlockCutter(unlimited)
        let received = 0
        let given = ''
        for (const chunk of chunksOf(bytes, at)) {
          const runs = cutter.cut(chunk)
          given += textOf(runs)
          // Anything may be written between two of them.
          for (const run of runs.slice(0, -1))
            expect(
              boundaries.some(({ at }) => at === given.length - textOf(runs).length + run.length),
            ).to.equal(true)
          received += chunk.length
          const whole = boundaries.findLast((boundary) => boundary.at <= received - markSize)
          expect(given).to.equal(text.slice(0, whole?.at ?? 0))
        }
        // What began like a mark and never went on is in nobody's way.
        if (!'\xef\xbb'.startsWith(text)) expect(given + cutter.rest().toString('latin1')).to.equal(text)
        expect(cutter.tooLarge).to.equal(false)
      }),
      { numRuns: 1000 },
    )
  })

  describe('a limit', () => {
    const block = 'data: x\n\n'

    it('lets a block of just that size pass', () => {
      const cutter = new BlockCutter(block.length)
      expect(cutAll(cutter, [block, block + block, ...block])).to.have.lengthOf(2 + block.length)
      expect(cutter.tooLarge).to.equal(false)
    })

    it('stops at a block that is one byte larger, and gives those in front of it', () => {
      const cutter = new BlockCutter(block.length)
      expect(cutAll(cutter, [`${block}:a\n${block}data: xx\n\n${block}`])).to.deep.equal([
        `${block}:a\n${block}`,
      ])
      expect(cutter.tooLarge).to.equal(true)
    })

    it('stops as soon as the part of a block that is there is larger', () => {
      const cutter = new BlockCutter(block.length)
      expect(cutAll(cutter, [block, 'data: xxx'])).to.deep.equal([block, undefined])
      expect(cutter.tooLarge).to.equal(false)
      expect(cutAll(cutter, ['x'])).to.deep.equal([undefined])
      expect(cutter.tooLarge).to.equal(true)
    })

    it('counts neither the byte order mark nor the LF behind the CR at which a block ends', () => {
      const cutter = new BlockCutter(block.length)
      cutAll(cutter, ['\xef', Buffer.from([0xef, 0xbb, 0xbf])])
      const marked = new BlockCutter(block.length)
      expect(
        cutAll(marked, [Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(block)])]),
      ).to.deep.equal([block])
      expect(marked.tooLarge).to.equal(false)
      const crlf = new BlockCutter('data: x\r\n\r'.length)
      expect(cutAll(crlf, ['data: x\r\n\r\n'])).to.deep.equal(['data: x\r\n\r\n'])
      expect(crlf.tooLarge).to.equal(false)
    })

    it('holds for a comment as well', () => {
      const cutter = new BlockCutter(4)
      expect(cutAll(cutter, [':ab\n', ':abc\n'])).to.deep.equal([':ab\n', ''])
      expect(cutter.tooLarge).to.equal(true)
    })
  })
})
