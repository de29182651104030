import { once } from 'node:events'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import { createResilientSseSource, httpUpstream, relaySse } from '../../src/index.ts'
import { drain, fast, lastIs, next, textOf } from '../support/events.ts'
import { data, each, mark, meaningOf, nothing, withBytes } from '../support/meaning.ts'
import { plain } from '../support/model.ts'
import { serve, serveInTurn, stays, stream } from '../support/server.ts'
import { holdTime } from '../support/time.ts'
import { until } from '../support/until.ts'

// The rest of the HTML Standard's section on server-sent events, and where the library differs: reconnect/standard.test.ts.

const objects = { objectMode: true, reconnect: fast, isTerminal: lastIs('end') } as const

describe('HTML Standard, 9.2.5 Parsing an event stream', () => {
  each([
    ['stream: may hold nothing', '', nothing],
    ['stream: may hold a byte order mark alone', mark, nothing],
    ['stream: may start with a byte order mark', withBytes(mark, 'data: x\n\ndata: y\n\n'), data('x', 'y')],
    [
      'stream: has one byte order mark; a second belongs to a name',
      withBytes(mark, mark, 'data: x\n\ndata: y\n\n'),
      data('y'),
    ],
    [
      'stream: U+FEFF at a later line belongs to a name',
      'data: x\n\n\ufeffdata: y\ndata: z\n\n',
      data('x', 'z'),
    ],
    ['event: may be a line end alone', '\n\n\r\r\r\n\r\ndata: x\n\n\n\n', data('x')],
    [
      'event: may be comments and fields in any order',
      ':a\ndata: x\n:b\nid: 1\n:c\n\n',
      { blocks: [{ id: '1', data: 'x' }], comments: ['a', 'b', 'c'], lastEventId: '1' },
    ],
    [
      'comment: a colon, then any characters, or none',
      ':\n:a\n: b\n:  c\n::d\n:data: x\n:\0\t\u2028\u{10ffff}\n\n',
      { blocks: [], comments: ['', 'a', 'b', ' c', ':d', 'data: x', '\0\t\u2028\u{10ffff}'] },
    ],
    ['field: may have no colon', 'data\n\n', data('')],
    ['field: may have nothing behind the colon', 'data:\n\n', data('')],
    ['field: may have a space behind the colon', 'data: x\n\n', data('x')],
    ['field: needs no space behind the colon', 'data:x\n\n', data('x')],
    ['field: may have further colons', 'data:x:y: z\n\ndata::\n\n', data('x:y: z', ':')],
    [
      'name-char: anything but CR, LF and colon, so that other names are fields as well',
      '\0data: a\n\tdata: b\n\x0bdata: c\n\x0cdata: d\ndata;e\n\u0085data: f\n\u{10ffff}data: g\ndata: h\n\n',
      data('h'),
    ],
    [
      'any-char: anything but CR and LF, so that no other character ends a line',
      'data: \0\t\x0b\x0c\x1c\x1d\x1e\x7f\u0085\u2028\u2029\u{10ffff}\n\n',
      data('\0\t\x0b\x0c\x1c\x1d\x1e\x7f\u0085\u2028\u2029\u{10ffff}'),
    ],
    ['end-of-line: LF', 'data: x\ndata: y\n\ndata: z\n\n', data('x\ny', 'z')],
    ['end-of-line: CR', 'data: x\rdata: y\r\rdata: z\r\r', data('x\ny', 'z')],
    ['end-of-line: CRLF', 'data: x\r\ndata: y\r\n\r\ndata: z\r\n\r\n', data('x\ny', 'z')],
    [
      'end-of-line: all three in one stream',
      'data: x\rdata: y\ndata: z\r\n\rdata: w\n\r\n',
      data('x\ny\nz', 'w'),
    ],
    ['end-of-line: CRLF is one, not two', 'data: x\r\ndata: y\r\n\r\n', data('x\ny')],
    ['end-of-line: LF and CR are two', 'data: x\n\rdata: y\n\r', data('x', 'y')],
    [
      'end-of-line: of a comment as of a field',
      ':a\r:b\n:c\r\n\r\n',
      { blocks: [], comments: ['a', 'b', 'c'] },
    ],
    ['the encoding is UTF-8', 'data: é日😀\n\n', data('é日😀')],
  ])

  for (const end of ['\n', '\r', '\r\n']) {
    it(`buffering: an event is dispatched at its blank line, here ${JSON.stringify(end)}, not at the next byte`, async () => {
      await using server = await serve(stays(`data: x${end}${end}`))
      const source = createResilientSseSource(httpUpstream(server.url), objects)
      const [event] = await once(source, 'data')
      expect(event).to.include({ data: 'x' })
      source.destroy()
      const bytes = createResilientSseSource(httpUpstream(server.url))
      const [chunk] = await once(bytes, 'data')
      expect(meaningOf(chunk)).to.deep.equal({ ...data('x'), comments: [] })
      bytes.destroy()
    })
  }
})

describe('HTML Standard, 9.2.6 Interpreting an event stream', () => {
  describe('decode and read line by line', () => {
    each([
      [
        'UTF-8 decode: what is not UTF-8 is U+FFFD, and nothing around it',
        withBytes('data: a', [0xff], 'b', [0xe6, 0x97], 'c', [0xc0, 0xaf], 'd\n\n'),
        data('a\ufffdb\ufffdc\ufffd\ufffdd'),
      ],
      [
        'UTF-8 decode: a character that a line end cuts short is U+FFFD',
        withBytes('data: a', [0xf0, 0x9f, 0x98], '\ndata: b\n\n'),
        data('a\ufffd\nb'),
      ],
      ['UTF-8 decode: U+FEFF within the stream stays', 'data: \ufeffx\n\n', data('\ufeffx')],
      [
        'buffers: all three are empty at the start',
        'event\ndata: x\n\n',
        { blocks: [{ data: 'x' }], lastEventId: '' },
      ],
      ['an empty line dispatches the event', 'data: x\n\ndata: y\n\n', data('x', 'y')],
      [
        'a line that starts with a colon is ignored, but told as a comment',
        'data: x\n:data: y\n\n',
        { ...data('x'), comments: ['data: y'] },
      ],
      ['a line with a colon: the name is before the first one', 'data:a:b\n\n', data('a:b')],
      ['a line with a colon: one space goes, no more', 'data:  x \n\n', data(' x ')],
      ['a line with a colon: a tab stays', 'data:\tx\n\n', data('\tx')],
      ['a line with a colon: a space in front of it belongs to the name', 'data : x\ndata: y\n\n', data('y')],
      ['a line without a colon is a name, and its value is empty', 'data\ndata\n\n', data('\n')],
      [
        'the end of the file discards what is pending: no blank line',
        'data: x\n\nid: 1\ndata: y\n',
        data('x'),
      ],
      ['the end of the file discards what is pending: no line end', 'data: x\n\nid: 1\ndata: y', data('x')],
      ['the end of the file discards what is pending: an id alone', 'id: 1\n', nothing],
      [
        'the end of the file discards what is pending: the comments in it, not those in front of it',
        ':a\ndata: x\n:b\n',
        { blocks: [], comments: ['a'] },
      ],
      [
        'the end of the file discards what is pending: half a CRLF is a whole line end',
        'data: x\r\n\rdata: y\r',
        data('x'),
      ],
      [
        'the end of the file discards what is pending: half a character',
        withBytes('data: x\n\ndata: ', [0xe6, 0x97]),
        data('x'),
      ],
    ])

    it('the end of the file discards an unfinished block, which does not reach the next connection', async () => {
      for (const objectMode of [true, false]) {
        const streams = ['event: a\nid: 1\ndata: x\n', 'data: y\n\n']
        const source = createResilientSseSource(
          ({ lastEventId }) => {
            expect(lastEventId).to.equal('')
            const text = streams.shift()
            if (text === undefined) return { statusCode: 204, headers: {}, body: Readable.from([]) }
            return Readable.from([Buffer.from(text)])
          },
          { objectMode, reconnect: fast },
        )
        const { chunks } = await drain(source)
        const events = chunks.flatMap((chunk) =>
          Buffer.isBuffer(chunk) ? meaningOf(chunk).blocks : [plain(chunk)],
        )
        expect(events).to.deep.equal([{ data: 'y' }])
      }
    })
  })

  describe('process the field', () => {
    each([
      [
        '"event" sets the event type buffer',
        'event: a\ndata: x\n\n',
        { blocks: [{ event: 'a', data: 'x' }] },
      ],
      [
        '"event" sets it anew: the last one counts',
        'event: a\nevent: b\ndata: x\n\n',
        { blocks: [{ event: 'b', data: 'x' }] },
      ],
      ['"event" may set it to the empty string', 'event: a\nevent:\ndata: x\n\n', data('x')],
      [
        '"event" may hold anything, U+0000 NULL too',
        'event:  a:\0b\ndata: x\n\n',
        { blocks: [{ event: ' a:\0b', data: 'x' }] },
      ],
      ['"data" appends the value and a LF', 'data: x\ndata:\ndata: y\n\n', data('x\n\ny')],
      [
        '"id" sets the last event ID buffer',
        'id: 1\ndata: x\n\n',
        { blocks: [{ id: '1', data: 'x' }], lastEventId: '1' },
      ],
      [
        '"id" sets it anew: the last one counts',
        'id: 1\ndata: x\nid: 2\n\n',
        { blocks: [{ id: '2', data: 'x' }], lastEventId: '2' },
      ],
      [
        '"id" sets it to the empty string where there is no value',
        'id: 1\ndata: x\n\nid\ndata: y\n\n',
        {
          blocks: [
            { id: '1', data: 'x' },
            { id: '', data: 'y' },
          ],
        },
      ],
      [
        '"id" is ignored where its value holds U+0000 NULL, wherever that stands',
        'id: 1\ndata: x\n\nid: 2\0\nid: \x003\nid: 4\x005\nid:\0\ndata: y\n\n',
        { blocks: [{ id: '1', data: 'x' }, { data: 'y' }], lastEventId: '1' },
      ],
      [
        '"id" keeps the spaces behind the first',
        'id:  1 \ndata: x\n\n',
        { blocks: [{ id: ' 1 ', data: 'x' }], lastEventId: ' 1 ' },
      ],
      ['"retry" is no event', 'retry: 1\n\nretry: 2\ndata: x\n\n', data('x')],
      [
        'any other name is ignored',
        'dat: a\ndatas: b\nfoo: c\n data: d\nlast-event-id: 9\nid2: 9\ndata: x\n\n',
        data('x'),
      ],
      [
        'names are compared literally, with no case folding',
        'Data: a\nDATA: b\nId: 1\nID: 2\nEvent: c\nRETRY: 3\ndata: x\n\n',
        data('x'),
      ],
    ])

    /** The delay, and what set it, after a connection that said this and was reset. */
    const delayAfter = async (text: string) => {
      const source = createResilientSseSource(
        async function* () {
          yield `data: x\n\n${text}`
          throw new Error('reset')
        },
        { reconnect: { baseDelay: 500, minDelay: 1, maxDelay: 60_000, jitter: 0 } },
      )
      source.resume()
      const { delay } = await next(source, 'retry')
      source.destroy()
      return delay
    }

    it('"retry" of ASCII digits sets the reconnection time, as an integer in base ten', async () => {
      expect(await delayAfter('retry: 1234\n\n')).to.equal(1234)
      expect(await delayAfter('retry:0042\n\n')).to.equal(42)
      expect(await delayAfter('retry: 7\nretry: 8\n\n')).to.equal(8)
    })

    it('"retry" sets the reconnection time at once: the end of the file does not undo it', async () => {
      expect(await delayAfter('data: y\nretry: 1234\n')).to.equal(1234)
      expect(await delayAfter('retry: 1234')).to.equal(500)
    })

    for (const value of ['', ' 5', '5 ', '-5', '+5', '5.0', '5a', 'a5', '1e3', '0x10', '٣', 'Infinity']) {
      it(`"retry" of ${JSON.stringify(value)} is ignored`, async () => {
        expect(await delayAfter(`retry: ${value}\n\n`)).to.equal(500)
      })
    }
  })

  describe('dispatch the event', () => {
    const lastEventIds = async (...streams: string[]) => {
      const source = createResilientSseSource(
        ({ attempt }) => {
          const text = streams.shift()
          if (text !== undefined) return Readable.from([Buffer.from(text)])
          expect(attempt).to.equal(0)
          return { statusCode: 204, headers: {}, body: Readable.from([]) }
        },
        { objectMode: true, reconnect: fast },
      )
      const { chunks } = await drain(source)
      return chunks.map(({ lastEventId }) => lastEventId)
    }

    it('step 1: the buffer is not reset, so that the last event ID string stays until it is set again', async () => {
      const text = 'data: a\n\nid: 1\ndata: b\n\ndata: c\n\nid: 2\ndata: d\n\nid\ndata: e\n\ndata: f\n\n'
      expect(await lastEventIds(text)).to.deep.equal(['', '1', '1', '2', '', ''])
    })

    it('step 1: a block without data sets the last event ID string too', async () => {
      expect(await lastEventIds('id: 1\n\ndata: a\n\nid\n\ndata: b\n\n')).to.deep.equal(['1', '1', '', ''])
    })

    it('step 1: differs: the buffer outlives the connection', async () => {
      expect(await lastEventIds('id: 1\ndata: a\n\n', 'data: b\n\n')).to.deep.equal(['1', '1'])
    })

    each([
      [
        'step 2: an empty data buffer dispatches nothing',
        'event: a\n\n\nevent: b\n:c\n\n',
        {
          blocks: [],
          comments: ['c'],
        },
      ],
      ['step 2: an empty data buffer forgets the event type as well', 'event: a\n\ndata: x\n\n', data('x')],
      [
        'step 2: differs: an id that comes so is passed on, as clients move with it',
        'event: a\nid: 1\n\n',
        { blocks: [{ id: '1' }], lastEventId: '1' },
      ],
      [
        'step 3: one LF goes from the end of the data, and no other',
        'data: x\ndata:\ndata:\n\n',
        data('x\n\n'),
      ],
      ['step 3: data of one empty line is the empty string', 'data\n\n', data('')],
      [
        'step 5: the type is "message" where there is none, and the field is absent',
        'data: x\n\n',
        data('x'),
      ],
      [
        'step 6: the type is that of the event type buffer otherwise',
        'event: message\ndata: x\n\nevent: a b\ndata: y\n\n',
        {
          blocks: [
            { event: 'message', data: 'x' },
            { event: 'a b', data: 'y' },
          ],
        },
      ],
      [
        'step 7: data and type buffers are empty for the next event',
        'event: a\ndata: x\n\ndata: y\n\n',
        { blocks: [{ event: 'a', data: 'x' }, { data: 'y' }] },
      ],
    ])

    it('step 8: no event is dispatched after the reader has closed, not even from the same chunk', async () => {
      for (const objectMode of [true, false]) {
        const chunk = Buffer.from(':a\n\ndata: b\n\n:c\n\ndata: d\n\n')
        const source = createResilientSseSource(() => Readable.from([chunk]), { objectMode })
        const seen: unknown[] = []
        source.on('data', (data) => seen.push(data)).once('comment', () => source.destroy())
        source.on('comment', (text) => seen.push(text))
        await once(source, 'close')
        expect(seen).to.deep.equal(['a'])
      }
    })
  })

  describe('examples', () => {
    each([
      ['three data lines are one event', 'data: ACME\ndata: +7\ndata: 140\n\n', data('ACME\n+7\n140')],
      [
        'four blocks: a comment, an event with an id, one whose id is cleared, one with a leading space and no end',
        ': four blocks\n\ndata: one\nid: 1\n\ndata:two\nid\n\ndata:  three\n',
        {
          blocks: [
            { id: '1', data: 'one' },
            { id: '', data: 'two' },
          ],
          comments: ['four blocks'],
        },
      ],
      [
        'the same with its last blank line',
        ': four blocks\n\ndata: one\nid: 1\n\ndata:two\nid\n\ndata:  three\n\n',
        {
          blocks: [{ id: '1', data: 'one' }, { id: '', data: 'two' }, { data: ' three' }],
          comments: ['four blocks'],
        },
      ],
      [
        'an empty event, one of a single LF, and one that is discarded',
        'data\n\ndata\ndata\n\ndata:',
        data('', '\n'),
      ],
      ['two events alike, with and without the space', 'data:same\n\ndata: same\n\n', data('same', 'same')],
    ])
  })
})

describe('HTML Standard, 9.2.7 Authoring notes', () => {
  it('a relay sends a comment every 15 seconds by default, for proxies that drop silent connections', async () => {
    await using upstream = await serve(stays('data: x\n\n'))
    await using gateway = await serve((request, response) => {
      relaySse(request, response, httpUpstream(upstream.url)).catch((error) => response.destroy(error))
    })
    const client = createResilientSseSource(httpUpstream(gateway.url), { objectMode: true })
    const comments: string[] = []
    client.on('comment', (text) => comments.push(text))
    using time = holdTime()
    await once(client, 'data')
    await time.pass(14_999)
    const silent = comments.length
    await time.pass(1)
    await until(
      () => comments.length > 0,
      () => 'a comment',
    )
    expect([silent, comments.length]).to.deep.equal([0, 1])
    client.destroy()
  })

  it("an upstream's own comments reach the client unchanged", async () => {
    await using server = await serveInTurn(stays(':\n\n'), stays(': alive\n'))
    for (const text of ['', 'alive']) {
      const source = createResilientSseSource(httpUpstream(server.url))
      const [chunk] = await once(source, 'data')
      expect(meaningOf(chunk)).to.deep.equal({ blocks: [], comments: [text] })
      source.destroy()
    }
  })

  it('chunking by a layer that does not know events does not change the stream', async () => {
    const text = 'id: 1\r\nevent: a\r\ndata: é\r\n\r\n: c\r\ndata: end\r\n\r\n'
    await using server = await serve(async (_, response) => {
      stream(response)
      for (const byte of Buffer.from(text)) {
        await new Promise((resolve) => response.write(Buffer.of(byte), resolve))
      }
      response.end()
    })
    const source = createResilientSseSource(httpUpstream(server.url), { isTerminal: lastIs('end') })
    expect(meaningOf(Buffer.from(await textOf(source)))).to.deep.equal({
      blocks: [{ id: '1', event: 'a', data: 'é' }, { data: 'end' }],
      comments: ['c'],
    })
  })
})
