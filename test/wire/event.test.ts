import { expect } from 'chai'
import fc from 'fast-check'
import { type SseEvent, serializeComment, serializeEvent } from '../../src/wire/event.ts'
import { EventReader } from '../support/event-reader.ts'
import { type Item, noting, plain } from '../support/model.ts'

describe('serializeEvent', () => {
  it('writes id, event and data in this order, and a blank line', () => {
    expect(serializeEvent({ data: 'x', event: 'tick', id: '7' })).to.equal('id: 7\nevent: tick\ndata: x\n\n')
  })

  it('writes data alone', () => {
    expect(serializeEvent({ data: 'x' })).to.equal('data: x\n\n')
  })

  it('omits the type when it is absent or empty', () => {
    expect(serializeEvent({ event: undefined, data: 'x' })).to.equal('data: x\n\n')
    expect(serializeEvent({ event: '', data: 'x' })).to.equal('data: x\n\n')
  })

  it("writes the type 'message' when it is given", () => {
    expect(serializeEvent({ event: 'message', data: 'x' })).to.equal('event: message\ndata: x\n\n')
  })

  it('omits lastEventId, which is not a field on the wire', () => {
    expect(serializeEvent({ data: 'x', lastEventId: '7' })).to.equal('data: x\n\n')
  })

  it('writes one data line for each line that LF, CR or CRLF ends', () => {
    expect(serializeEvent({ data: 'a\nb\rc\r\nd' })).to.equal('data: a\ndata: b\ndata: c\ndata: d\n\n')
    expect(serializeEvent({ data: '\n' })).to.equal('data: \ndata: \n\n')
    expect(serializeEvent({ data: '\r\r\n\n' })).to.equal('data: \ndata: \ndata: \ndata: \n\n')
  })

  it('keeps leading spaces by writing one more space', () => {
    expect(serializeEvent({ id: ' 7', event: ' t', data: '  x\n y' })).to.equal(
      'id:  7\nevent:  t\ndata:   x\ndata:  y\n\n',
    )
  })

  it('writes empty data, which is an event too', () => {
    expect(serializeEvent({ data: '' })).to.equal('data: \n\n')
  })

  it('writes an empty id, which clears the last event ID', () => {
    expect(serializeEvent({ id: '', data: 'x' })).to.equal('id: \ndata: x\n\n')
  })

  it('writes an id alone', () => {
    expect(serializeEvent({ id: '7' })).to.equal('id: 7\n\n')
    expect(serializeEvent({ id: '' })).to.equal('id: \n\n')
  })

  it('accepts NUL in data and type', () => {
    expect(serializeEvent({ event: 't\0', data: '\0' })).to.equal('event: t\0\ndata: \0\n\n')
  })

  it('rejects an event with neither data nor id', () => {
    expect(() => serializeEvent({})).to.throw(TypeError, 'an event needs data or an id')
    expect(() => serializeEvent({ event: 'tick' })).to.throw(TypeError, 'an event needs data or an id')
  })

  for (const id of ['a\nb', 'a\rb', 'a\r\nb', '\n', 'a\0b', '\0']) {
    it(`rejects the id ${JSON.stringify(id)}, and shows it`, () => {
      expect(() => serializeEvent({ id, data: 'x' })).to.throw(
        TypeError,
        `event.id must not hold a line end or NUL: ${JSON.stringify(id)}`,
      )
    })
  }

  for (const event of ['a\nb', 'a\rb', '\r\n']) {
    it(`rejects the type ${JSON.stringify(event)}, and shows it`, () => {
      expect(() => serializeEvent({ event, data: 'x' })).to.throw(
        TypeError,
        `event.event must not hold a line end: ${JSON.stringify(event)}`,
      )
    })
  }

  const notStrings: readonly [unknown, string][] = [
    [{ id: 7, data: 'x' }, 'event.id must be a string, got 7'],
    [{ id: null, data: 'x' }, 'event.id must be a string, got null'],
    [{ id: 7 }, 'event.id must be a string, got 7'],
    [{ event: 7, data: 'x' }, 'event.event must be a string, got 7'],
    [{ event: null, data: 'x' }, 'event.event must be a string, got null'],
    [{ data: 7 }, 'event.data must be a string, got 7'],
    [{ data: null }, 'event.data must be a string, got null'],
    [{ data: { x: 1 } }, 'event.data must be a string, got [object Object]'],
    [{ id: '7', data: Buffer.from('x') }, 'event.data must be a string, got [object Uint8Array]'],
  ]
  for (const [event, message] of notStrings) {
    it(`rejects ${JSON.stringify(event)}`, () => {
      // @ts-expect-error what a caller without types may give
      expect(() => serializeEvent(event)).to.throw(TypeError, message)
    })
  }

  it('is reversed by the reader, for every event that can be serialized', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 8 }),
      fc
        .array(fc.constantFrom('a', ' ', ':', '\n', '\r', '\0', '\ufeff', 'data: ', '日本'), { maxLength: 6 })
        .map((parts) => parts.join('')),
    )
    const line = text.map((value) => value.replace(/[\r\n]/g, ''))
    const events: fc.Arbitrary<SseEvent> = fc
      .record({
        id: fc.option(
          line.map((value) => value.replaceAll('\0', '')),
          { nil: undefined },
        ),
        event: fc.option(line, { nil: undefined }),
        data: fc.option(text, { nil: undefined }),
      })
      .filter(({ id, data }) => id !== undefined || data !== undefined)
    fc.assert(
      fc.property(fc.array(events, { maxLength: 5 }), (written) => {
        const items: Item[] = []
        new EventReader(2 ** 20, noting(items)).read(Buffer.from(written.map(serializeEvent).join('')))
        const expected = written.map(({ id, event, data }) =>
          plain(data === undefined ? { id } : { id, event, data: data.replace(/\r\n?/g, '\n') }),
        )
        expect(items).to.deep.equal(expected.map((block) => ({ block })))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('serializeComment', () => {
  it('writes one line without a blank line', () => {
    expect(serializeComment('ping')).to.equal(': ping\n')
    expect(serializeComment('')).to.equal(': \n')
    expect(serializeComment(' ping')).to.equal(':  ping\n')
  })
})
