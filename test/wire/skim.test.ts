import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect } from 'chai'
import fc from 'fast-check'
import { skim } from '../../src/wire/skim.ts'
import { boundariesOf, itemsOf, streamBytes } from '../support/model.ts'

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

/** What the model knows of blocks; undefined when they hold a reconnection time. */
function known(bytes: Buffer) {
  if (/(^|\n)retry[:\n]/.test(bytes.toString('latin1'))) return undefined
  const blocks = itemsOf(bytes).flatMap((item) => ('block' in item ? [item.block] : []))
  return {
    events: blocks.filter(({ data }) => data !== undefined).length,
    id: blocks.findLast(({ id }) => id !== undefined)?.id,
  }
}

function skimmed(blocks: Buffer) {
  const found = skim(blocks)
  if (found === undefined) return undefined
  const { events, idStart, idEnd } = found
  return { events, id: idStart === 0 ? undefined : blocks.toString('utf8', idStart, idEnd) }
}

describe('skim', () => {
  it('knows the events and the last id of any blocks', () => {
    fc.assert(
      fc.property(plainBlocks, fc.integer({ min: 0, max: 3 }), (blocks, times) => {
        const bytes = Buffer.concat([blocks, ...Array(times).fill(blocks)])
        expect(skimmed(bytes)).to.deep.equal(known(bytes))
      }),
      { numRuns: 3000 },
    )
  })

  // Wherever a line stands in the 64 bytes that are looked at together.
  for (const [text, events, id] of [
    ['data\n\n', 1, undefined],
    ['data:\n\n', 1, undefined],
    ['database: x\n\n', 0, undefined],
    ['\ndatabase: x\n\n', 0, undefined],
    ['\ndata: x\n\n', 1, undefined],
    ['data: x\ndata: y\n\n', 1, undefined],
    ['data: x\n\ndata: y\n\n', 2, undefined],
    [': data\n\ndata: x\n\n', 1, undefined],
    ['id\n\n', 0, ''],
    ['id:\n\n', 0, ''],
    ['id: \n\n', 0, ''],
    ['id: 5\n\nid\n\n', 0, ''],
    ['id:  5 \n\nidea: 6\n\n', 0, ' 5 '],
    ['data: id\nid:日本\n\n', 1, '日本'],
    ['retryx: 5\n\n', 0, undefined],
    ['retr: 5\n\n', 0, undefined],
    [`id: 5\ndata: ${'x'.repeat(20_000)}\n\n`, 1, '5'],
    [`data: ${'x'.repeat(20_000)}\n\n`, 1, undefined],
    [`id: 1\ndata: x\n\n`.repeat(100), 100, '1'],
  ] as const) {
    it(`finds ${events} events and the id ${id} in ${JSON.stringify(text).slice(0, 40)}`, () => {
      for (let n = 0; n <= 64; n++) {
        expect(skimmed(Buffer.from(`:${'x'.repeat(n)}\n${text}`)), `behind ${n}`).to.deep.equal({
          events,
          id,
        })
      }
    })
  }

  for (const [name, text] of [
    ['a reconnection time', 'data: x\nretry: 5\n\n'],
    ['a reconnection time without a value', 'data: x\nretry\n\n'],
    ['CR', 'data: x\r\n\n'],
    ['NUL', 'id: \0\n\n'],
  ] as const) {
    it(`leaves blocks with ${name} to be read`, () => {
      for (let n = 0; n <= 64; n++)
        expect(skim(Buffer.from(`:${'x'.repeat(n)}\n${text}`))).to.equal(undefined)
      expect(skim(Buffer.from(text))).to.equal(undefined)
    })
  }

  it('leaves blocks behind a byte order mark to be read', () => {
    expect(skim(Buffer.from('\ufeffdata: x\n\n'))).to.equal(undefined)
    expect(skim(Buffer.from('data: \ufeff\n\n'))).not.to.equal(undefined)
  })

  it('leaves more than a mebibyte to be read', () => {
    const event = (size: number) => Buffer.from(`data: ${'x'.repeat(size - 8)}\n\n`)
    expect(skim(event(1_048_577))).to.equal(undefined)
    expect(skim(event(1_048_576))).to.deep.equal({ events: 1, idStart: 0, idEnd: 0 })
  })

  it('takes nothing that was there the last time for something', () => {
    skim(Buffer.from('data: x\r\n\n'.repeat(50)))
    expect(skim(Buffer.from('data: x\n\n'))).to.deep.equal({ events: 1, idStart: 0, idEnd: 0 })
    skim(Buffer.from('id: 5\ndata: x\n\n'.repeat(50)))
    expect(skim(Buffer.from('data\n\n'))).to.deep.equal({ events: 1, idStart: 0, idEnd: 0 })
  })

  it('leaves everything to be read where there is no WebAssembly', async () => {
    const program = `
      import { skim } from './src/wire/skim.ts'
      console.log(skim(Buffer.from('data: x\\n\\n')))`
    const args = ['--jitless', '--import', 'tsx', '--input-type=module', '--eval', program]
    // Coverage of one file by several processes does not add up.
    const env = { ...process.env, NODE_V8_COVERAGE: '' }
    const { stdout } = await promisify(execFile)(process.execPath, args, { env })
    expect(stdout).to.equal('undefined\n')
  })
})
