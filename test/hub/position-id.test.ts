import { expect } from 'chai'
import fc from 'fast-check'
import { formatId, parseId } from '../../src/hub/position-id.ts'
import { ask, has } from '../support/client.ts'
import { dataIn, idOf, serveHub } from '../support/hub.ts'
import { serve, stream } from '../support/server.ts'

const most = Number.MAX_SAFE_INTEGER
const position = fc.record({
  epoch: fc.integer({ min: 1, max: most }),
  seq: fc.integer({ min: 0, max: most }),
})

describe('the id of a place in a shared stream', () => {
  it('is parsed as it was formatted, whatever the cursor is', () => {
    fc.assert(
      fc.property(
        position,
        fc.option(fc.string({ unit: 'binary' }), { nil: undefined }),
        (position, cursor) => {
          expect(parseId(formatId(position, cursor))).to.deep.equal({ position, cursor })
        },
      ),
    )
  })

  it('has one form for each place', () => {
    const parts = fc.constantFrom(
      '0',
      '1',
      '9',
      '12',
      '9007199254740991',
      '9007199254740993',
      '-',
      '/',
      ' ',
      '+',
      'e',
    )
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 6 }), (chosen) => {
        const id = chosen.join('')
        const { position, cursor } = parseId(id)
        if (position) expect(formatId(position, undefined)).to.equal(id.split('/', 1)[0])
        else expect(cursor).to.equal(id || undefined)
      }),
      { numRuns: 1000 },
    )
  })

  for (const id of [
    '5',
    '5-',
    '-5',
    '0-1',
    '05-1',
    '5-01',
    ' 5-1',
    '5-1 ',
    '+5-1',
    '5-1-',
    '5.0-1',
    '5-1x',
    '5_1',
  ]) {
    it(`is the upstream's where it is ${JSON.stringify(id)}`, () => {
      expect(parseId(id)).to.deep.equal({ position: undefined, cursor: id })
    })
  }

  it('is none where it is empty', () => {
    expect(parseId('')).to.deep.equal({ position: undefined, cursor: undefined })
  })

  it("is the upstream's where a number is too large to be exact", () => {
    for (const id of ['9007199254740992-1', '1-9007199254740992', '99999999999999999-1']) {
      expect(parseId(id)).to.deep.equal({ position: undefined, cursor: id })
    }
  })

  it('has everything behind the first slash for its cursor', () => {
    expect(parseId('5-1/')).to.deep.equal({ position: { epoch: 5, seq: 1 }, cursor: '' })
    expect(parseId('5-1/a/b\nc')).to.deep.equal({ position: { epoch: 5, seq: 1 }, cursor: 'a/b\nc' })
  })

  it('holds the upstream id as it is where a header field can carry it', () => {
    const place = { epoch: 5, seq: 3 }
    for (const id of ['7', 'a b', 'größe 😀', 'a/b', '%2F', '{"n":1}']) {
      expect(formatId(place, id)).to.equal(`5-3/${id}`)
    }
  })

  it('holds any other upstream id in a form that a header field can carry', () => {
    const place = { epoch: 5, seq: 3 }
    for (const id of ['a\u0001b', '\u007f', ' a', 'a ', 'a\t', '/a', '//', 'a\nb']) {
      expect(formatId(place, id), JSON.stringify(id)).to.match(/^5-3\/\/[!-~]+$/)
    }
    expect(parseId(formatId(place, 'a\ud800'))).to.deep.equal({ position: place, cursor: 'a\ufffd' })
    expect(parseId('5-3//%zz%e4')).to.deep.include({ position: place })
  })

  it('lets a client come back after an event whose upstream id no header field can carry', async () => {
    await using upstream = await serve((_, response) => {
      stream(response, 'id: a\u0001\ndata: event 1\n\nid: b \ndata: event 2\n\n')
    })
    await using feed = await serveHub(upstream.url)
    using first = ask(feed.url)
    await has(first, 'event 2')
    using again = ask(feed.url, { 'last-event-id': idOf(first, 'event 1') })
    await has(again, 'event 2')
    expect(dataIn(again)).to.deep.equal(['event 2'])
    expect(upstream.requests).to.have.length(1)
  })
})
