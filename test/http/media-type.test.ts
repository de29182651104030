import { expect } from 'chai'
import { isEventStream, mediaTypeOf } from '../../src/http/media-type.ts'
import { createResilientSseSource, httpUpstream, type UpstreamFactory } from '../../src/index.ts'
import { dataOf, drain, lastIs, wire } from '../support/events.ts'
import { serveRaw } from '../support/server.ts'

describe('isEventStream', () => {
  for (const type of [
    'text/event-stream',
    'TEXT/EVENT-STREAM',
    'Text/Event-Stream',
    'text/event-stream;charset=utf-8',
    'text/event-stream; charset=UTF-8',
    'text/event-stream ; charset=utf-8',
    'text/event-stream;',
    ' text/event-stream ',
    'application/json, text/event-stream; charset=utf-8',
    'text/event-stream,text/event-stream',
    'text/event-stream, */*',
    'text/event-stream, nonsense',
    'text/event-stream,',
    'text/html;a="b, text/plain", text/event-stream',
    'text/event-stream;a="b, text/plain"',
    'text/event-stream;a="b\\", text/plain"',
    'text/event-stream;a="never closed, text/plain',
  ]) {
    it(`accepts ${JSON.stringify(type)}`, () => {
      expect(isEventStream(type)).to.equal(true)
    })
  }

  for (const type of [
    undefined,
    '',
    'text/event-streamer',
    'text/event-stream-x',
    'text/event-stream x',
    'text/event',
    'xtext/event-stream',
    'text/html',
    'text/html; text/event-stream',
    'application/json',
    'text/event-stream, application/json',
    'text/event-stream, text/html;charset=utf-8',
    'text/html;a=", text/event-stream"',
    'text/html;a="\\", text/event-stream',
    '*/*',
    'text/, /event-stream',
  ]) {
    it(`refuses ${JSON.stringify(type) ?? 'undefined'}`, () => {
      expect(isEventStream(type)).to.equal(false)
    })
  }
})

describe('mediaTypeOf', () => {
  it('returns the essence, and the type with its parameters unchanged', () => {
    expect(mediaTypeOf('Text/Event-Stream; Charset=UTF-8; x="a,b"')).to.deep.equal({
      essence: 'text/event-stream',
      text: 'Text/Event-Stream; Charset=UTF-8; x="a,b"',
    })
    expect(mediaTypeOf('application/json, text/event-stream; charset=utf-8 , */*')).to.deep.equal({
      essence: 'text/event-stream',
      text: 'text/event-stream; charset=utf-8',
    })
  })

  it('returns the last valid type of several lines', () => {
    expect(mediaTypeOf(['text/html', 'text/plain;x'])?.text).to.equal('text/plain;x')
    expect(mediaTypeOf(['text/html', '', 'no type'])?.essence).to.equal('text/html')
    expect(mediaTypeOf([])).to.equal(undefined)
  })

  it('reads a field of 100,000 commas or quotes in a short time', () => {
    const commas = mediaTypeOf(','.repeat(100_000))
    const quotes = mediaTypeOf('"\\'.repeat(100_000))
    expect([commas, quotes]).to.deep.equal([undefined, undefined])
  })
})

describe('an answer with several content types', () => {
  const throughFetch =
    (url: string): UpstreamFactory =>
    ({ headers, signal }) =>
      fetch(url, { headers, signal })
  for (const [client, open] of Object.entries({ httpUpstream, fetch: throughFetch })) {
    for (const [lines, isStream] of [
      [['application/json, text/event-stream; charset=utf-8'], true],
      [['application/json', 'text/event-stream'], true],
      [['text/event-stream', 'text/event-stream; charset=utf-8'], true],
      [['text/event-stream', 'application/json'], false],
      [['text/event-stream, application/json'], false],
    ] as const) {
      it(`${lines.join(' | ')} is ${isStream ? 'an' : 'not an'} event stream through ${client}`, async () => {
        const fields = lines.map((line) => `content-type: ${line}\r\n`).join('')
        await using upstream = await serveRaw((socket) =>
          socket.end(`HTTP/1.1 200 OK\r\n${fields}connection: close\r\n\r\n${wire(1)}`),
        )
        const source = createResilientSseSource(open(upstream.url), {
          objectMode: true,
          isTerminal: lastIs('event 1'),
        })
        if (isStream) expect(await dataOf(source)).to.deep.equal(['event 1'])
        else {
          const { error } = await drain(source)
          expect(error).to.include({ code: 'ERR_SSE_CONTENT_TYPE' })
          expect(error).to.have.property('message').that.includes('application/json')
        }
      })
    }
  }
})
