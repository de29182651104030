import { Readable } from 'node:stream'
import zlib from 'node:zlib'
import { expect } from 'chai'
import { codingsOf, decodeBody, isDecodable } from '../../src/upstream/decode.ts'

describe('content codings', () => {
  for (const [field, codings] of [
    [undefined, []],
    ['', []],
    ['identity', []],
    ['GZIP', ['gzip']],
    ['gzip , br', ['gzip', 'br']],
    ['gzip,, identity,br', ['gzip', 'br']],
    [
      ['gzip', 'br, deflate'],
      ['gzip', 'br', 'deflate'],
    ],
  ] as const) {
    it(`of ${JSON.stringify(field)} are ${JSON.stringify(codings)}`, () => {
      expect(codingsOf(field === undefined ? {} : { 'content-encoding': field })).to.deep.equal(codings)
    })
  }

  it('can be decoded when all of them are known, and there are at most four', () => {
    expect(isDecodable([])).to.equal(true)
    expect(isDecodable(['gzip', 'x-gzip', 'deflate', 'br'])).to.equal(true)
    expect(isDecodable(['gzip', 'x-gzip', 'deflate', 'br', 'gzip'])).to.equal(false)
    expect(isDecodable(['gzip', 'compress'])).to.equal(false)
    expect(isDecodable(['toString'])).to.equal(false)
  })

  it('are decoded, the last one first', async () => {
    const encoded = zlib.deflateSync(zlib.brotliCompressSync(zlib.gzipSync('text')))
    const chunks = await decodeBody(Readable.from([encoded]), ['x-gzip', 'br', 'deflate']).toArray()
    expect(Buffer.concat(chunks).toString()).to.equal('text')
  })
})
