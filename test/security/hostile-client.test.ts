import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { expect } from 'chai'
import { httpUpstream, type RelaySummary, relaySse } from '../../src/index.ts'
import { ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { proxyTo, relayTo } from '../support/gateway.ts'
import { flood, isLeft, serve, settledBytes, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

const request = (...fields: string[]) =>
  `${['GET /events HTTP/1.1', 'host: us', ...fields].join('\r\n')}\r\n\r\n`

/** A client of bytes. */
function rawClient(port: number, bytes: string, allowHalfOpen = false): net.Socket {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen }).on('error', () => {})
  socket.write(bytes)
  return socket
}

describe('a hostile client', () => {
  for (const kind of ['relay', 'proxy'] as const) {
    const front = (upstream: { url: string; port: number }) =>
      kind === 'relay' ? relayTo(httpUpstream(upstream.url)) : proxyTo(upstream.port)

    it(`that closes its half of the connection counts as disconnected: ${kind}`, async () => {
      await using upstream = await serve(stays(wire(1)))
      await using gateway = await front(upstream)
      const socket = rawClient(gateway.server.port, request(), true)
      await once(socket, 'data')
      socket.end()
      await isLeft(upstream)
      await isLeft(gateway.server)
      socket.destroy()
    })

    it(`that connects and disconnects 50 times leaves no upstream connection open: ${kind}`, async () => {
      await using upstream = await serve((_, response) => {
        // Half of them leave while they wait for the head.
        if (upstream.requests.length % 2 === 0) stays(wire(1))(_, response)
      })
      await using gateway = await front(upstream)
      const sockets = Array.from({ length: 50 }, () => rawClient(gateway.server.port, request()))
      await until(
        () => upstream.requests.length === 50,
        () => `${upstream.requests.length} requests`,
      )
      for (const socket of sockets) socket.destroy()
      await isLeft(upstream)
      await isLeft(gateway.server)
    })
  }

  it('with a Last-Event-ID of 1 MB is refused by Node, and no factory is called', async () => {
    let calls = 0
    await using gateway = await relayTo(() => {
      calls++
      return new Promise(() => {})
    })
    const socket = rawClient(gateway.server.port, request(`last-event-id: ${'1'.repeat(2 ** 20)}`))
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    await until(
      () => socket.closed,
      () => 'the connection closes',
    )
    // Node closes with bytes unread: the reset may overtake the answer.
    expect(text).to.match(/^(HTTP\/1\.1 431 |$)/)
    expect(calls).to.equal(0)
  })

  it('that stops reading costs a bounded number of bytes, with the default limits', async () => {
    await using upstream = await serve((_, response) => flood(response))
    const held: (() => number)[] = []
    await using gateway = await relayTo(httpUpstream(upstream.url), { statusEvents: true })
    gateway.server.server.on('request', (_, response) => held.push(() => response.writableLength))
    const clients = Array.from({ length: 3 }, () => ask(gateway.url))
    for (const client of clients) {
      await has(client, 'data: ')
      client.reads(false)
    }
    await Promise.all(upstream.requests.map(({ socket }) => settledBytes(socket)))
    for (const bytes of held) expect(bytes()).to.be.below(256 * 1024)
    for (const client of clients) client[Symbol.dispose]()
    await isLeft(upstream)
  })

  it('that resets its HTTP/2 streams leaves no upstream connection open', async () => {
    await using upstream = await serve(stays(wire(1)))
    const summaries: RelaySummary[] = []
    const server = http2.createServer(async (req, res) => {
      summaries.push(await relaySse(req, res, httpUpstream(upstream.url)))
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    const session = http2.connect(`http://127.0.0.1:${address.port}`)
    for (let n = 0; n < 50; n++) {
      const stream = session.request({ ':path': '/' }).on('error', () => {})
      if (n % 2 === 0) stream.once('response', () => stream.close(http2.constants.NGHTTP2_CANCEL))
      else setImmediate(() => stream.close(http2.constants.NGHTTP2_CANCEL))
    }
    await until(
      () => summaries.length === 50,
      () => `${summaries.length} relays end`,
    )
    expect(new Set(summaries.map(({ outcome }) => outcome))).to.deep.equal(new Set(['client-gone']))
    await isLeft(upstream)
    session.close()
    server.close()
    await once(server, 'close')
  })

  for (const kind of ['relay', 'proxy'] as const) {
    it(`that pipelines requests and disconnects leaves no upstream connection open: ${kind}`, async () => {
      await using upstream = await serve(stays(wire(1)))
      await using gateway = await (kind === 'relay'
        ? relayTo(httpUpstream(upstream.url))
        : proxyTo(upstream.port))
      const client = net.connect(gateway.server.port, '127.0.0.1')
      client
        .on('error', () => {})
        .resume()
        .write('GET / HTTP/1.1\r\nhost: us\r\n\r\n'.repeat(20))
      await until(
        () => gateway.server.requests.length === 20 && upstream.requests.length > 0,
        () => `20 requests, not ${gateway.server.requests.length}`,
      )
      client.destroy()
      await isLeft(gateway.server)
      await isLeft(upstream)
      // Only one answer at a time can be on its way.
      expect(upstream.requests).to.have.length(1)
    })
  }
})
