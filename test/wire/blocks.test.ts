import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect } from 'chai'
import fc from 'fast-check'
import { BlockScanner } from '../../src/wire/blocks.ts'
import { loadScanner, sliceSize } from '../../src/wire/scanner.ts'
import {
  boundariesOf,
  chunksOf,
  cuts,
  itemsOf,
  itemsWithin,
  streamBytes,
  withoutMark,
} from '../support/model.ts'

const unlimited = 2 ** 31
/** More than this behind a held block is a run of its own. */
const lot = 4096
const mark = Buffer.from([0xef, 0xbb, 0xbf])

/** A run of blocks, and what the scanner knows of it. */
interface Run {
  readonly bytes: Buffer
  readonly events: number
  readonly id: string | undefined
  readonly mustRead: boolean
}

function scanChunk(scanner: BlockScanner, chunk: Buffer): Run[] {
  const runs: Run[] = []
  scanner.push(chunk)
  for (let bytes = scanner.next(); bytes !== undefined; bytes = scanner.next()) {
    const { events, idStart, idEnd, mustRead } = scanner
    // A copy, as the chunk is overwritten.
    const id = idStart === -1 ? undefined : bytes.toString('utf8', idStart, idEnd)
    runs.push({ bytes: Buffer.from(bytes), events, id, mustRead })
  }
  // The scanner must not need the chunk any more.
  chunk.fill('!')
  return runs
}

/** The runs of each chunk. */
function scanAll(scanner: BlockScanner, chunks: readonly (string | Buffer)[]): Run[][] {
  return chunks.map((chunk) => scanChunk(scanner, Buffer.from(chunk)))
}

const textOf = (runs: readonly Run[]) => Buffer.concat(runs.map(({ bytes }) => bytes)).toString('latin1')

/** What comes out for each chunk; undefined where nothing was whole. */
function cutAll(scanner: BlockScanner, chunks: readonly (string | Buffer)[]): (string | undefined)[] {
  return scanAll(scanner, chunks).map((runs) => (runs.length === 0 ? undefined : textOf(runs)))
}

function cutText(...chunks: (string | Buffer)[]): (string | undefined)[] {
  return cutAll(new BlockScanner(unlimited), chunks)
}

/** What is known of a stream's blocks altogether. */
function known(chunks: readonly (string | Buffer)[]) {
  const runs = scanAll(new BlockScanner(unlimited), chunks).flat()
  return {
    events: runs.reduce((sum, { events }) => sum + events, 0),
    id: runs.findLast(({ id }) => id !== undefined)?.id,
    mustRead: runs.some(({ mustRead }) => mustRead),
  }
}

/** What a run's bytes require; a CR at the end of their chunk may be half of a CRLF. */
function mustBeRead(text: string, nextByte: string): boolean {
  const lastId = text.split(/\r\n|\r|\n/).findLast((line) => /^id(:|$)/.test(line))
  return (
    /(^|[\r\n])retry[:\r\n]/.test(text) ||
    /\r[^\n]/.test(text + nextByte) ||
    text.startsWith('\xef\xbb\xbf') ||
    lastId?.includes('\0') === true
  )
}

/** Checks all that a scanner says of a stream, after each chunk. */
function expectAsModel(bytes: Buffer, chunks: readonly Buffer[]): void {
  const boundaries = boundariesOf(bytes)
  const text = Buffer.from(withoutMark(bytes)).toString('latin1')
  const markSize = bytes.length - text.length
  const scanner = new BlockScanner(unlimited)
  let received = 0
  let given = 0
  for (const chunk of chunks) {
    received += chunk.length
    for (const { bytes: run, ...known } of scanChunk(scanner, chunk)) {
      expect(run.toString('latin1')).to.equal(text.slice(given, given + run.length))
      const before = itemsOf(bytes.subarray(0, markSize + given))
      given += run.length
      // Anything may be written between two runs.
      expect(boundaries.some(({ at }) => at === given)).to.equal(true)
      const said = itemsOf(bytes.subarray(0, markSize + given)).slice(before.length)
      const blocks = said.flatMap((item) => ('block' in item ? [item.block] : []))
      expect(known.events).to.equal(blocks.filter(({ data }) => data !== undefined).length)
      const nextByte = text.slice(given, received - markSize).slice(0, 1)
      expect(known.mustRead).to.equal(mustBeRead(run.toString('latin1'), nextByte))
      if (!known.mustRead) expect(known.id).to.equal(blocks.findLast(({ id }) => id !== undefined)?.id)
    }
    const whole = boundaries.findLast((boundary) => boundary.at <= received - markSize)
    expect(given).to.equal(whole?.at ?? 0)
  }
  // What began like a mark and never went on is in nobody's way.
  if (!'\xef\xbb'.startsWith(text)) expect(scanner.rest().toString('latin1')).to.equal(text.slice(given))
  expect(scanner.tooLarge).to.equal(false)
}

/** Counts the bytes that are put in front of the module while `act` runs. */
function bytesScanned(act: () => void): number {
  const { slice } = loadScanner()
  const set = slice.set.bind(slice)
  let count = 0
  slice.set = (bytes, at) => {
    count += bytes.length
    set(bytes, at)
  }
  try {
    act()
  } finally {
    Reflect.deleteProperty(slice, 'set')
  }
  return count
}

describe('BlockScanner', () => {
  describe('against a model of the standard', () => {
    it('returns the whole blocks of any stream in any chunks', () => {
      fc.assert(
        fc.property(streamBytes, cuts, (bytes, at) => expectAsModel(bytes, chunksOf(bytes, at))),
        { numRuns: 2000 },
      )
    })

    it('returns the whole blocks of any bytes that have a meaning', () => {
      const meaning = fc.constantFrom(...Buffer.from('\n\n\n\r\r::  idataeretry\0\xef\xbb\xbf5', 'latin1'))
      const names = fc.constantFrom('data', 'id', 'retry', 'id:', '\n\n', '\r\n', '\r\n\r\n')
      const piece = fc.oneof(
        meaning.map((byte) => Buffer.of(byte)),
        names.map((name) => Buffer.from(name)),
      )
      fc.assert(
        fc.property(fc.array(piece, { maxLength: 60 }), cuts, (pieces, at) => {
          const bytes = Buffer.concat(pieces)
          expectAsModel(bytes, chunksOf(bytes, at))
        }),
        { numRuns: 2000 },
      )
    })

    it('returns the whole blocks when lines and blocks span several slices', () => {
      const long = fc
        .tuple(fc.constantFrom('data: ', ': ', 'id: ', ''), fc.integer({ min: 0, max: 130 }), fc.nat(2))
        .map(([name, less, slices]) => Buffer.from(name.padEnd(slices * sliceSize + 64 - less, 'x')))
      const piece = fc.oneof({ arbitrary: streamBytes, weight: 2 }, { arbitrary: long, weight: 1 })
      const places = fc.array(fc.nat(10 * sliceSize), { maxLength: 4 })
      fc.assert(
        fc.property(fc.array(piece, { minLength: 1, maxLength: 6 }), places, (pieces, at) => {
          const bytes = Buffer.concat(pieces)
          expectAsModel(bytes, chunksOf(bytes, at))
        }),
        { numRuns: 300 },
      )
    })

    it('stops before the first block over the limit', () => {
      fc.assert(
        fc.property(streamBytes, cuts, fc.integer({ min: 2, max: 60 }), (bytes, at, limit) => {
          const { tooLarge } = itemsWithin(bytes, limit)
          const boundaries = boundariesOf(bytes)
          const failing = boundaries.findIndex(({ size }) => size > limit)
          const whole = boundaries.slice(0, failing === -1 ? undefined : failing).at(-1)?.at ?? 0
          const scanner = new BlockScanner(limit)
          const runs = scanAll(scanner, chunksOf(bytes, at)).flat()
          expect(scanner.tooLarge).to.equal(tooLarge)
          expect(textOf(runs)).to.equal(Buffer.from(withoutMark(bytes)).toString('latin1', 0, whole))
        }),
        { numRuns: 2000 },
      )
    })
  })

  it('returns whole blocks and keeps the rest', () => {
    const scanner = new BlockScanner(unlimited)
    expect(cutAll(scanner, ['id: 1\nda', 'ta: x\n\nid: 2\ndata: y\n\ndata:'])).to.deep.equal([
      undefined,
      'id: 1\ndata: x\n\nid: 2\ndata: y\n\n',
    ])
    expect(scanner.rest().toString()).to.equal('data:')
  })

  it('returns the chunk itself when it holds only whole blocks, and otherwise a view', () => {
    const scanner = new BlockScanner(unlimited)
    const chunk = Buffer.from('data: x\n\n')
    scanner.push(chunk)
    expect(scanner.next()).to.equal(chunk)
    expect(scanner.next()).to.equal(undefined)
    const longer = Buffer.from('data: x\n\ndata')
    scanner.push(longer)
    const run = scanner.next()
    expect([run?.buffer, run?.byteOffset, run?.length]).to.deep.equal([longer.buffer, longer.byteOffset, 9])
  })

  describe('with a held block', () => {
    const block = 'id: 1\ndata: x\n\n'

    /** The chunk that ends a held block, with so many bytes behind that, and the runs of it. */
    function behindHeld(size: number): { chunk: Buffer; runs: Buffer[] } {
      const scanner = new BlockScanner(unlimited)
      cutAll(scanner, [block.slice(0, 8)])
      const text = block.slice(8) + 'id: 2\ndata: '.padEnd(size - 2, 'y').concat('\n\n')
      // In memory of its own, not in the pool that copies may be in as well.
      const chunk = Buffer.alloc(text.length, text)
      const runs: Buffer[] = []
      scanner.push(chunk)
      for (let run = scanner.next(); run !== undefined; run = scanner.next()) {
        runs.push(run)
        const { events, idStart, idEnd } = scanner
        expect([events, run.toString('latin1', idStart, idEnd)]).to.deep.equal(
          size < lot ? [2, '2'] : [1, String(runs.length)],
        )
      }
      return { chunk, runs }
    }

    it('does not copy many bytes after it', () => {
      for (const size of [lot, 3 * sliceSize]) {
        const { chunk, runs } = behindHeld(size)
        expect(runs.map(String)).to.deep.equal([block, chunk.toString().slice(block.length - 8)])
        expect(runs[0]?.buffer).not.to.equal(chunk.buffer)
        expect(runs[1]?.buffer).to.equal(chunk.buffer)
      }
    })

    it('copies few bytes after it', () => {
      const { chunk, runs } = behindHeld(lot - 1)
      expect(runs.map(String)).to.deep.equal([block.slice(0, 8) + chunk.toString()])
    })
  })

  it('does not scan a byte twice in any chunks', () => {
    const size = 4 * 1024 * 1024
    const scanner = new BlockScanner(unlimited)
    const byte = Buffer.from('x')
    const count = bytesScanned(() => {
      for (let n = 0; n < size; n++) {
        scanner.push(byte)
        scanner.next()
      }
    })
    expect(count).to.equal(size)
    expect(scanner.rest()).to.have.lengthOf(size)
    const events = Buffer.from('id: 1\ndata: x\n\n'.repeat(10_000))
    expect(bytesScanned(() => scanChunk(new BlockScanner(unlimited), events))).to.equal(events.length)
  })

  it('does not wait for the byte after a CR', () => {
    expect(cutText('data: x\r\r')).to.deep.equal(['data: x\r\r'])
    expect(cutText('data: x\r', '\r')).to.deep.equal([undefined, 'data: x\r\r'])
    expect(cutText('data: x\n\r')).to.deep.equal(['data: x\n\r'])
    expect(cutText(': x\r')).to.deep.equal([': x\r'])
  })

  it('reads a split CRLF as one line end', () => {
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

  it('reads LF CR as two line ends', () => {
    expect(cutText('data: x\n', '\r', 'data: y')).to.deep.equal([undefined, 'data: x\n\r', undefined])
  })

  it('returns a comment before a block at the end of its line', () => {
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

  it('returns blank lines', () => {
    expect(cutText('\n', '\n\n', '\r', '\n', 'data: x\n')).to.deep.equal([
      '\n',
      '\n\n',
      '\r',
      '\n',
      undefined,
    ])
  })

  describe('byte order mark', () => {
    it('is removed at the start of the stream', () => {
      expect(cutText(Buffer.concat([mark, Buffer.from('data: x\n\n')]))).to.deep.equal(['data: x\n\n'])
    })

    it('is removed when it arrives byte by byte, with empty chunks in between', () => {
      const chunks = [mark.subarray(0, 1), '', mark.subarray(1, 2), mark.subarray(2), ':x\n']
      expect(cutText(...chunks)).to.deep.equal([undefined, undefined, undefined, undefined, ':x\n'])
    })

    it('is removed once, and blocks after a second mark must be read', () => {
      const twice = Buffer.concat([mark, mark, Buffer.from('\n\n')])
      expect(cutText(twice)).to.deep.equal(['\xef\xbb\xbf\n\n'])
      expect(cutText(mark, mark, '\n\n')).to.deep.equal([undefined, undefined, '\xef\xbb\xbf\n\n'])
      expect(known([twice]).mustRead).to.equal(true)
    })

    it('is kept after the start', () => {
      expect(cutText('\n', mark, '\n\n')).to.deep.equal(['\n', undefined, '\xef\xbb\xbf\n\n'])
    })

    it('is not confused with its first bytes alone', () => {
      expect(cutText(mark.subarray(0, 2), '\n\n')).to.deep.equal([undefined, '\xef\xbb\n\n'])
      expect(cutText(Buffer.from([0xef, 0xbb, 0x0a, 0x0a]))).to.deep.equal(['\xef\xbb\n\n'])
    })
  })

  describe('a limit', () => {
    const block = 'data: x\n\n'

    it('accepts a block of exactly that size', () => {
      const scanner = new BlockScanner(block.length)
      const chunks = [block, block + block, ...block]
      expect(cutAll(scanner, chunks).filter((text) => text !== undefined)).to.deep.equal([
        block,
        block + block,
        block,
      ])
      expect(scanner.tooLarge).to.equal(false)
    })

    it('stops at a block that is one byte larger, and returns the blocks before it', () => {
      const scanner = new BlockScanner(block.length)
      expect(cutAll(scanner, [`${block}:a\n${block}data: xx\n\n${block}`])).to.deep.equal([
        `${block}:a\n${block}`,
      ])
      expect(scanner.tooLarge).to.equal(true)
    })

    it('stops as soon as an unfinished block is larger', () => {
      const scanner = new BlockScanner(block.length)
      expect(cutAll(scanner, [block, 'data: xxx'])).to.deep.equal([block, undefined])
      expect(scanner.tooLarge).to.equal(false)
      expect(cutAll(scanner, ['x'])).to.deep.equal([undefined])
      expect(scanner.tooLarge).to.equal(true)
    })

    it('counts neither the byte order mark nor the LF after the CR that ends a block', () => {
      const marked = new BlockScanner(block.length)
      expect(cutAll(marked, [Buffer.concat([mark, Buffer.from(block)])])).to.deep.equal([block])
      expect(marked.tooLarge).to.equal(false)
      const crlf = new BlockScanner('data: x\r\n\r'.length)
      const blocks = 'data: x\r\n\r\n'.repeat(2)
      expect(cutAll(crlf, [blocks, blocks])).to.deep.equal([blocks, blocks])
      expect(crlf.tooLarge).to.equal(false)
    })

    it('counts each block separately, in any slice', () => {
      const blocks = block.repeat(3 * sliceSize)
      const scanner = new BlockScanner(block.length)
      expect(cutAll(scanner, [blocks])).to.deep.equal([blocks])
      expect(scanner.tooLarge).to.equal(false)
      expect(cutAll(scanner, [`${blocks}data: xx\n\n`])).to.deep.equal([blocks])
      expect(scanner.tooLarge).to.equal(true)
    })

    it('applies to comments', () => {
      const scanner = new BlockScanner(4)
      expect(cutAll(scanner, [':ab\n', ':abc\n'])).to.deep.equal([':ab\n', undefined])
      expect(scanner.tooLarge).to.equal(true)
    })

    it('may be infinite', () => {
      const scanner = new BlockScanner(Infinity)
      expect(cutAll(scanner, ['data: ', 'x\n\n'])).to.deep.equal([undefined, block])
    })
  })

  describe('finds events, the last id and whether blocks must be read, wherever lines are cut,', () => {
    for (const [text, events, id, mustRead] of [
      ['data\n\n', 1, undefined, false],
      ['data:\n\n', 1, undefined, false],
      ['database: x\n\n', 0, undefined, false],
      ['dat: x\n\n', 0, undefined, false],
      ['data : x\n\n', 0, undefined, false],
      ['data: x\ndata: y\n\n', 1, undefined, false],
      ['data: x\n\ndata: y\n\n', 2, undefined, false],
      [': data\n\ndata: x\n\n', 1, undefined, false],
      ['id\n\n', 0, '', false],
      ['id:\n\n', 0, '', false],
      ['id: \n\n', 0, '', false],
      ['id: 5\n\nid\n\n', 0, '', false],
      ['id:  5 \n\nidea: 6\n\ni: 7\n\n', 0, ' 5 ', false],
      ['id: 5\nid: 6\n\n', 0, '6', false],
      ['id: 5\ndata: x\n\nid: 6\nretry: 7\ndata: y\n', 1, '5', false],
      ['data: id\nid:日本\n\n', 1, '日本', false],
      ['retryx: 5\n\nretr: 5\n\nretro: 5\n\nretry : 5\n\n', 0, undefined, false],
      ['id: 5\r\ndata: x\r\n\r\ndata\r\n\r\n: c\r\nid\r\n\r\n', 2, '', false],
      ['id: 15\r\ndata: x\r\n\r\n', 1, '15', false],
      ['data: x\nretry: 5\n\n', 1, undefined, true],
      ['data: x\nretry\n\n', 1, undefined, true],
      ['data: x\r\nretry\r\n\r\n', 1, undefined, true],
      ['data: x\rdata: y\n\n', 1, undefined, true],
      ['data: x\r\n\rdata: y\n\n', 2, undefined, true],
      ['id: a\0\ndata: x\n\n', 1, 'a\0', true],
      ['id: a\0\nid: b\ndata: \0\n\n', 1, 'b', false],
    ] as const) {
      it(`in ${JSON.stringify(text)}`, () => {
        const bytes = Buffer.from(text)
        const expected = { events, id, mustRead }
        expect(known([bytes])).to.deep.equal(expected)
        expect(known(chunksOf(bytes, 'everywhere')), 'byte by byte').to.include({ events, id })
        for (let n = 0; n <= bytes.length; n++) {
          // Whether a CR is half of a CRLF is not known at the end of a chunk.
          const isCut = text[n - 1] === '\r' && text[n] !== '\n'
          const atCut = known([bytes.subarray(0, n), bytes.subarray(n)])
          expect(isCut ? { ...atCut, mustRead } : atCut, `cut at ${n}`).to.deep.equal(expected)
          const comment = `${':'.padEnd(sliceSize - n - 1, 'x')}\n`
          expect(known([comment + text]), `sliced at ${n}`).to.deep.equal(expected)
        }
        for (let n = 0; n <= 64; n++) {
          expect(known([`${':'.padEnd(n + 1, 'x')}\n${text}`]), `behind ${n}`).to.deep.equal(expected)
        }
      })
    }
  })

  it("ignores the bytes that an earlier slice has left in the module's memory", () => {
    known(['data: x\r\n\r\n'.repeat(50)])
    expect(known(['data: x\n\n'])).to.deep.equal({ events: 1, id: undefined, mustRead: false })
    known(['id: 5\ndata: x\n\n'.repeat(50)])
    expect(known(['data\n\n'])).to.deep.equal({ events: 1, id: undefined, mustRead: false })
  })

  it('serves several connections at the same time', () => {
    const scanners = [1, 2, 3].map((n) => ({ n, scanner: new BlockScanner(unlimited) }))
    const ids: (string | undefined)[] = []
    for (const part of ['id: ', '#', '1\nda', 'ta\r', '\n\r\n']) {
      for (const { n, scanner } of scanners) {
        for (const { id } of scanChunk(scanner, Buffer.from(part.replace('#', String(n))))) ids.push(id)
      }
    }
    expect(ids).to.deep.equal(['11', '21', '31'])
  })

  it('throws an error that names WebAssembly on a platform without it', async () => {
    const program = `
      import { BlockScanner } from './src/wire/blocks.ts'
      try { new BlockScanner(1) } catch (error) { console.log(String(error)) }`
    const args = ['--jitless', '--import', 'tsx', '--input-type=module', '--eval', program]
    // Coverage of one file by several processes does not add up.
    const env = { ...process.env, NODE_V8_COVERAGE: '' }
    const { stdout } = await promisify(execFile)(process.execPath, args, { env })
    expect(stdout).to.equal('Error: resilient-sse needs WebAssembly, which node --jitless turns off\n')
  })
})
