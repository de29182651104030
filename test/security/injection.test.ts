import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect } from 'chai'
import { createSerializer, httpUpstream, type SseEvent } from '../../src/index.ts'
import { answerOf } from '../support/client.ts'
import { lastIs, wire } from '../support/events.ts'
import { relayTo } from '../support/gateway.ts'
import { itemsOf } from '../support/model.ts'
import { serve, serveRaw, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

const forged = 'data: forged'

describe('injection into the stream', () => {
  const events: SseEvent[] = [
    { id: `1\n${forged}`, data: '' },
    { id: `1\r\n\r\n${forged}\n\n`, data: '' },
    { id: '1\0', data: 'forged' },
    { event: `a\r${forged}`, data: '' },
    { event: `a\n\n${forged}\n`, data: '' },
  ]
  for (const event of events) {
    it(`fails through an event of the caller, of which nothing is sent: ${JSON.stringify(event)}`, async () => {
      await using upstream = await serve(stays(wire(1), `data: ${'x'.repeat(200)}\n\n`))
      await using gateway = await relayTo(httpUpstream(upstream.url), {
        maxEventSize: 100,
        errorEvent: () => event,
      })
      expect(await answerOf(gateway.url)).to.include({ text: wire(1), over: 'broken' })
      await until(
        () => gateway.faults.length > 0,
        () => 'the relay rejects',
      )
      expect(gateway.faults[0]).to.be.instanceOf(TypeError)

      await using server = await serve((_, res) => {
        pipeline(Readable.from([{ id: '1', data: 'event 1' }, event]), createSerializer(), res).catch(
          () => {},
        )
      })
      const { text, over } = await answerOf(server.url)
      expect(over).to.equal('broken')
      expect(wire(1)).to.include(text)
    })
  }

  it('fails through data of the caller: an event of many lines is one event', async () => {
    const data = `a\n\n${forged}\r\revent: forged\r\n\r\nid: 9\n`
    await using upstream = await serve(stays(wire(1), `data: ${'x'.repeat(200)}\n\n`))
    await using gateway = await relayTo(httpUpstream(upstream.url), {
      maxEventSize: 100,
      errorEvent: () => ({ event: 'error', data }),
    })
    const { text } = await answerOf(gateway.url)
    expect(itemsOf(Buffer.from(text.slice(wire(1).length)))).to.deep.equal([
      { block: { event: 'error', data: data.replace(/\r\n?/g, '\n') } },
    ])
  })

  it('fails through bytes of the upstream: the client reads the events that were received', async () => {
    const tricks = [
      '\0',
      '\u2028data: forged',
      '\u0085data: forged',
      '\v\fdata: forged',
      '\ufeffid: 9',
      '\\ndata: forged',
      '%0Adata: forged',
      '&#10;data: forged',
      ':not a comment',
      ' id: 9',
      '日\u{1f600}',
    ]
    const bytes = Buffer.from(
      tricks
        .map(
          (trick, n) => `:${trick}\r\nid:${n}${trick}\nevent:${trick}\rdata:${trick}\r\ndata: ${trick}\n\r\n`,
        )
        .join(''),
    )
    await using upstream = await serve(stays(bytes, Buffer.from([0xff, 0x0a, 0x0a]), 'data: end\n\n'))
    await using gateway = await relayTo(httpUpstream(upstream.url), { isTerminal: lastIs('end') })
    const { text } = await answerOf(gateway.url)
    expect(itemsOf(Buffer.from(text))).to.deep.equal([...itemsOf(bytes), { block: { data: 'end' } }])
  })
})

describe('injection into header fields', () => {
  /** The names of the fields of a request as it stood on the wire. */
  const namesIn = (request: string) =>
    request
      .split('\r\n\r\n', 1)[0]
      ?.split(/[\r\n]+/)
      .slice(1)
      .map((line) => line.split(':', 1)[0]?.toLowerCase())
      .sort()
  const expected = ['accept', 'cache-control', 'connection', 'host']
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n'
  const hostile: [id: string, sendable: boolean][] = [
    ['a\u0001b', false],
    ['a\u007fb', false],
    ['a\u001bb', false],
    ['é\u009b', true],
    ['日\ud83d\ude00', true],
    ['a: b', true],
  ]

  it('fails through an id of the upstream, which is sent back as UTF-8 or not at all', async () => {
    for (const [id, sendable] of hostile) {
      await using upstream = await serveRaw((socket, n) => {
        if (n === 0) socket.end(`${head}id: ${id}\nevent: first\ndata: 1\n\n`)
        else socket.end(`${head}data: end\n\n`)
      })
      await using gateway = await relayTo(httpUpstream(upstream.url), { isTerminal: lastIs('end') })
      expect(await answerOf(gateway.url)).to.include({ over: 'end' })
      const [first = '', second = ''] = upstream.requests
      expect(namesIn(first)).to.deep.equal(expected)
      expect(namesIn(second), JSON.stringify(id)).to.deep.equal(
        sendable ? [...expected, 'last-event-id'] : expected,
      )
    }
  })

  it("fails through a client's last event ID in the query", async () => {
    for (const id of ['1\r\nx-forged: 1', '1\nx-forged: 1', '1\0', '1\rx-forged: 1\r\n\r\nGET / HTTP/1.1']) {
      await using upstream = await serveRaw((socket) => socket.end(`${head}data: end\n\n`))
      await using gateway = await relayTo(httpUpstream(upstream.url), { isTerminal: lastIs('end') })
      await answerOf(`${gateway.url}?lastEventId=${encodeURIComponent(id)}`)
      expect(upstream.requests.map(namesIn)).to.deep.equal([expected])
    }
  })

  it('fails through a refusal of the upstream: a relay passes on only the fields that a client needs', async () => {
    await using upstream = await serveRaw((socket) =>
      socket.end(
        'HTTP/1.1 401 No\r\nset-cookie: session=1\r\nlocation: http://evil.test/\r\nx-a: b\r\n' +
          'www-authenticate: Basic realm="\x9b"\r\ncontent-length: 0\r\n\r\n',
        'latin1',
      ),
    )
    await using gateway = await relayTo(httpUpstream(upstream.url))
    const response = await fetch(gateway.url)
    expect(response.status).to.equal(401)
    expect([...response.headers.keys()].sort()).to.deep.equal([
      'cache-control',
      'connection',
      'content-length',
      'content-type',
      'date',
      'keep-alive',
      'www-authenticate',
    ])
    await response.text()
  })
})
