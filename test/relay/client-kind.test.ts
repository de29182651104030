import type { OutgoingHttpHeaders } from 'node:http'
import http2 from 'node:http2'
import { expect } from 'chai'
import { clientKind, hasBody } from '../../src/relay/client.ts'
import { ask } from '../support/proxy.ts'
import { serve } from '../support/server.ts'

describe('the kind of a client', () => {
  const kinds: Record<string, ReturnType<typeof clientKind>> = {
    'text/event-stream': 'reconnects',
    'TEXT/Event-Stream;charset=utf-8': 'reconnects',
    'text/html, text/event-stream;q=0.5': 'reconnects',
    'application/json, text/event-stream': 'reconnects',
    'text/event-stream;q=0, */*': 'other',
    'text/event-stream; q=0.000, application/json': 'program',
    'application/json': 'program',
    'application/json, text/plain;q=0.9': 'program',
    'text/event-streamer': 'program',
    'application/json, */*;q=0': 'program',
    '*/*': 'other',
    'text/*': 'other',
    'application/json, text/plain, */*': 'other',
    'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8': 'other',
    '': 'other',
    ' , ': 'other',
  }
  for (const [accept, kind] of Object.entries(kinds)) {
    it(`is '${kind}' for a GET with 'Accept: ${accept}'`, () => {
      expect(clientKind({ method: 'GET', headers: { accept } })).to.equal(kind)
      expect(clientKind(new Request('http://us/', { headers: { accept } }))).to.equal(kind)
    })
  }

  it("is 'other' without an Accept", () => {
    expect(clientKind({ headers: {} })).to.equal('other')
    expect(clientKind(new Request('http://us/'))).to.equal('other')
  })

  it("is never 'reconnects' for another method, or with a body", () => {
    const accept = 'text/event-stream'
    const headers = { accept }
    expect(clientKind({ method: 'POST', headers })).to.equal('other')
    expect(clientKind({ method: 'HEAD', headers })).to.equal('other')
    expect(clientKind({ method: 'GET', headers: { accept, 'content-length': '2' } })).to.equal('other')
    expect(clientKind({ method: 'GET', headers: { accept, 'content-length': '0' } })).to.equal('reconnects')
    expect(clientKind({ method: 'GET', headers: { accept, 'transfer-encoding': 'chunked' } })).to.equal(
      'other',
    )
    expect(clientKind(new Request('http://us/', { method: 'POST', body: '{}', headers }))).to.equal('other')
  })

  it('is determined for a request of node:http', async () => {
    const seen: string[] = []
    await using server = await serve((req, res) => {
      seen.push(clientKind(req))
      res.end()
    })
    const accepts: OutgoingHttpHeaders[] = [
      { accept: 'text/event-stream' },
      { accept: 'application/json' },
      {},
    ]
    for (const headers of accepts) await (await ask(server.url, { headers })).over
    await (await ask(server.url, { method: 'POST', headers: { accept: 'text/event-stream' } })).over
    expect(seen).to.deep.equal(['reconnects', 'program', 'other', 'other'])
  })

  it("is 'other' for a request of node:http2 with a body of unknown length", async () => {
    const seen: [string, boolean][] = []
    const server = http2.createServer((req, res) => {
      seen.push([clientKind(req), hasBody(req)])
      res.end()
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    const session = http2.connect(`http://127.0.0.1:${address.port}`)
    const send = (body: string | undefined) =>
      new Promise<void>((resolve) => {
        const stream = session.request({ accept: 'text/event-stream' }, { endStream: body === undefined })
        stream.on('close', resolve).resume()
        if (body !== undefined) stream.end(body)
      })
    await send(undefined)
    await send('{}')
    session.close()
    await new Promise((resolve) => {
      server.close(resolve)
    })
    expect(seen).to.deep.equal([
      ['reconnects', false],
      ['other', true],
    ])
  })
})
