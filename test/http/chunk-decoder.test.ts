import { expect } from 'chai'
import { ChunkDecoder } from '../../src/http/chunk-decoder.ts'

/** Decodes a text that arrives in pieces; stops where the decoder stops. */
function decode(...pieces: readonly string[]) {
  const decoder = new ChunkDecoder()
  let data = ''
  for (const [n, piece] of pieces.entries()) {
    const bytes = Buffer.from(`..${piece}`, 'latin1')
    const at = decoder.decode(bytes, 2, bytes.length)
    data += bytes.toString('latin1', 2, decoder.dataEnd)
    if (at < bytes.length) {
      const rest = bytes.toString('latin1', at) + pieces.slice(n + 1).join('')
      return { data, resume: decoder.resumeBytes.toString(), rest, isReplayed: decoder.hasReplayedData }
    }
  }
  return { data, resume: '', rest: '', isReplayed: false }
}

describe('ChunkDecoder', () => {
  const body = '1\r\na\r\n0a\r\n0123456789\r\nC\r\nABCDEFGHIJKL\r\n0000002\r\n\r\n\r\n'
  const data = 'a0123456789ABCDEFGHIJKL\r\n'

  it('decodes plain chunks that are cut anywhere', () => {
    expect(decode(body).data).to.equal(data)
    for (let at = 0; at <= body.length; at++) {
      expect(decode(body.slice(0, at), body.slice(at)).data).to.equal(data)
    }
    expect(decode(...body).data).to.equal(data)
  })

  for (const [name, text, resume] of [
    ['the last chunk', '0\r\n\r\n', '0'],
    ['a last chunk with more digits', '000\r\n\r\n', '000'],
    ['an extension', '5;a=b\r\nabcde\r\n', '5'],
    ['a space after the size', '5 \r\nabcde\r\n', '5'],
    ['no size', '\r\nabcde\r\n', ''],
    ['a sign', '+5\r\nabcde\r\n', ''],
    ['a line feed alone', '5\nabcde\r\n', '5'],
    ['a carriage return alone', '5\rabcde\r\n', '5\r'],
    ['more digits than are decoded', '00000005\r\nabcde\r\n', '0000000'],
    ['any other byte', 'g\r\n', ''],
  ] as const) {
    it(`stops at ${name}, wherever the bytes are cut`, () => {
      for (const pieces of [[body + text], [body, text], [...body, ...text]]) {
        const stopped = decode(...pieces)
        expect(stopped.data).to.equal(data)
        expect(stopped.resume).to.equal(resume)
        expect(stopped.resume + stopped.rest).to.equal(text)
        expect(stopped.isReplayed).to.equal(false)
      }
    })
  }

  for (const [name, end, resume] of [
    ['the line end after the data is missing', '0\r\n\r\n', '1\r\nx'],
    ['the line end after the data is a line feed', '\n0\r\n\r\n', '1\r\nx'],
    ['the line end after the data is a carriage return', '\r0\r\n\r\n', '1\r\nx\r'],
  ] as const) {
    it(`stops where ${name}, with one byte of data for node:http's parser`, () => {
      for (const text of [[`${body}3\r\nabc${end}`], [...`${body}3\r\nabc${end}`]]) {
        const stopped = decode(...text)
        expect(stopped.data).to.equal(`${data}abc`)
        expect(stopped.resume).to.equal(resume)
        expect(stopped.isReplayed).to.equal(true)
      }
    })
  }
})
