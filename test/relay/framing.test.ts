import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { expect } from 'chai'
import {
  createDrain,
  httpUpstream,
  type RelaySummary,
  relayResponse,
  relaySse,
  type SseEvent,
} from '../../src/index.ts'
import { get, has } from '../support/client.ts'
import { fast, wire } from '../support/events.ts'
import { relayTo, settled } from '../support/gateway.ts'
import { answers, ends, isStuck, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

/** What a connection has got, and how it came to its end. */
async function raw(port: number, ...requests: readonly string[]): Promise<{ text: string; end: string }> {
  const socket = net.connect(port, '127.0.0.1').setEncoding('latin1')
  let text = ''
  socket.on('data', (part: string) => {
    text += part
  })
  for (const request of requests) socket.write(request)
  const end = await new Promise<string>((resolve) => {
    socket.on('error', (error) => resolve('code' in error ? String(error.code) : error.message))
    socket.on('end', () => resolve('FIN'))
  })
  socket.destroy()
  return { text, end }
}

const failing = () => serveInTurn(resets(wire(1)), answers(401))

describe('a stream that fails after its head', () => {
  it('is reset for a client of HTTP/1.0, whose body ends with the connection', async () => {
    await using upstream = await failing()
    await using relay = await relayTo(upstream.url)
    const { text, end } = await raw(relay.server.port, 'GET / HTTP/1.0\r\n\r\n')
    expect(text)
      .to.match(/^HTTP\/1\.1 200 /)
      .and.to.include(wire(1))
    expect(end).to.equal('ECONNRESET')
  })

  it('is reset when a handler has turned chunking off', async () => {
    await using upstream = await failing()
    await using gateway = await serve((req, res) => {
      res.useChunkedEncodingByDefault = false
      relaySse(req, res, httpUpstream(upstream.url), { reconnect: fast })
    })
    const { end } = await raw(gateway.port, 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
    expect(end).to.equal('ECONNRESET')
  })

  it('ends without a last chunk for a client of HTTP/1.1', async () => {
    await using upstream = await failing()
    await using relay = await relayTo(upstream.url)
    const { text } = await raw(relay.server.port, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    expect(text)
      .to.include(wire(1))
      .and.to.not.match(/0\r\n\r\n$/)
  })

  it('is reset for a client of HTTP/2', async () => {
    await using upstream = await failing()
    const server = http2.createServer((req, res) => {
      relaySse(req, res, httpUpstream(upstream.url), { reconnect: fast })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    const session = http2.connect(`http://127.0.0.1:${address.port}`)
    const request = session.request({ ':path': '/' })
    request.on('error', () => {}).resume()
    await new Promise((resolve) => request.on('close', resolve))
    expect(request.rstCode).to.equal(http2.constants.NGHTTP2_INTERNAL_ERROR)
    session.close()
    server.close()
    await once(server, 'close')
  })

  it('ends with a last chunk, or a FIN, when the stream is complete', async () => {
    await using upstream = await serve(stays(wire(1, 'end')))
    await using relay = await relayTo(upstream.url, { isTerminal: () => true })
    const close = 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
    expect((await raw(relay.server.port, close)).text).to.match(/0\r\n\r\n$/)
    expect(await raw(relay.server.port, 'GET / HTTP/1.0\r\n\r\n')).to.include({ end: 'FIN' })
  })
})

describe('a HEAD request', () => {
  it('gets the head without an upstream connection, and the connection serves the next request', async () => {
    await using upstream = await serve(stays(wire(1)))
    await using relay = await relayTo(upstream.url)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    for (let n = 0; n < 2; n++) {
      const [response]: http.IncomingMessage[] = await once(
        http.request(relay.url, { method: 'HEAD', agent }).end(),
        'response',
      )
      expect(response?.statusCode).to.equal(200)
      expect(response?.headers['content-type']).to.equal('text/event-stream')
      response?.resume()
      if (response) await once(response, 'end')
    }
    agent.destroy()
    expect(upstream.requests).to.have.length(0)
    await settled(relay)
    expect(relay.summaries.map(({ outcome }) => outcome)).to.deep.equal(['ended', 'ended'])
  })
})

describe('pipelined requests', () => {
  it('open one upstream connection at a time, in their order', async () => {
    let open = 0
    let most = 0
    await using upstream = await serve((_, response) => {
      most = Math.max(most, ++open)
      response.on('close', () => open--)
      stream(response, wire(1, 'end'))
    })
    await using relay = await relayTo(upstream.url, { isTerminal: () => true })
    const socket = net.connect(relay.server.port, '127.0.0.1').setEncoding('latin1')
    let text = ''
    socket.on('data', (part: string) => {
      text += part
    })
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(10))
    await until(
      () => text.split('data: end').length === 11,
      () => text.slice(-100),
    )
    socket.destroy()
    expect(most).to.equal(1)
  })

  it('that wait call no factory when the client disconnects while the end of the answer before is being sent', async () => {
    let calls = 0
    const responses: http.ServerResponse[] = []
    const summaries: RelaySummary[] = []
    await using server = await serve((req, res) => {
      responses.push(res)
      if (responses.length === 1) res.flushHeaders()
      else
        void relaySse(req, res, () => fetch(`http://127.0.0.1:1/${calls++}`)).then((end) =>
          summaries.push(end),
        )
    })
    const client = net.connect(server.port, '127.0.0.1').on('error', () => {})
    client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(2))
    await until(
      () => responses.length === 2,
      () => `${responses.length} requests`,
    )
    const [first] = responses
    if (!first?.socket) throw new Error('no connection')
    while (!(await isStuck(first.socket))) first.write('x'.repeat(8000))
    first.end()
    client.destroy()
    await until(
      () => summaries.length === 1,
      () => 'the relay ends',
    )
    expect(summaries[0]).to.include({ outcome: 'client-gone' })
    expect(calls).to.equal(0)
  })

  it("that wait are over when the client disconnects, even with onClientGone: 'drain'", async () => {
    await using upstream = await serve(stays(wire(1)))
    const drain = createDrain()
    await using relay = await relayTo(upstream.url, { onClientGone: 'drain', drain })
    const socket = net.connect(relay.server.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(3))
    await until(
      () => relay.server.requests.length === 3 && upstream.requests.length === 1,
      () => `${relay.server.requests.length} requests`,
    )
    socket.destroy()
    await until(
      () => relay.summaries.length === 2,
      () => `${relay.summaries.length} summaries`,
    )
    // The one that reads on is no reason to wait either.
    await drain.start()
    await until(
      () => relay.summaries.length === 3 && upstream.sockets.size === 0,
      () => 'the upstream closes',
    )
  })

  it('that wait end when the client disconnects', async () => {
    await using upstream = await serve(stays(wire(1)))
    await using relay = await relayTo(upstream.url)
    const socket = net.connect(relay.server.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(200))
    await until(
      () => relay.server.requests.length === 200 && upstream.requests.length === 1,
      () => `${relay.server.requests.length} requests`,
    )
    socket.destroy()
    await until(
      () => relay.summaries.length === 200,
      () => `${relay.summaries.length} summaries`,
    )
    expect(upstream.requests).to.have.length(1)
  })
})

describe('an adopted response', () => {
  it('is closed for a HEAD request and for a client that has disconnected', async () => {
    await using upstream = await serve(stays(wire(1)))
    const open = () => fetch(upstream.url)
    const factory = httpUpstream(upstream.url)
    const head = new Request('http://gateway.test/', { method: 'HEAD' })
    await (await relayResponse(head, factory, { initialResponse: await open() })).text()
    const gone = new Request('http://gateway.test/', { signal: AbortSignal.abort() })
    await relayResponse(gone, factory, { initialResponse: await open() })
    await until(
      () => upstream.requests.every(({ socket }) => socket.destroyed),
      () => 'the upstream closes',
    )
  })
})

describe('an exception while the head goes out', () => {
  for (const [when, script, options] of [
    ['after headTimeout', () => {}, { headTimeout: 5 }],
    ['with the upstream', stays(wire(1)), {}],
    ['at once', stays(wire(1)), { head: 'eager' }],
  ] as const) {
    it(`rejects, and ends the response: ${when}`, async () => {
      await using upstream = await serve(script)
      const faults: unknown[] = []
      await using gateway = await serve((req, res) => {
        Object.assign(res, {
          flushHeaders() {
            throw new Error('own')
          },
        })
        relaySse(req, res, httpUpstream(upstream.url), options).catch((error: unknown) => {
          faults.push(error)
          res.destroy()
        })
      })
      await raw(gateway.port, 'GET / HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n')
      expect(faults).to.have.length(1)
      expect(faults[0]).to.have.property('message', 'own')
      await until(
        () => upstream.sockets.size === 0,
        () => 'the upstream closes',
      )
    })
  }
})

describe('a client with an unread request body', () => {
  it('is detected as disconnected while the factory connects', async () => {
    let signal: AbortSignal | undefined
    const factory = (context: { signal: AbortSignal }) => {
      signal = context.signal
      return new Promise<Response>(() => {})
    }
    await using relay = await relayTo(factory)
    const socket = net.connect(relay.server.port, '127.0.0.1')
    socket.on('error', () => {}).resume()
    socket.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n${'x'.repeat(2_000_000)}`)
    await until(
      () => signal !== undefined && socket.writableLength === 0,
      () => 'the body is on its way',
    )
    socket.destroy()
    await until(
      () => signal?.aborted === true,
      () => 'the factory is aborted',
    )
  })

  for (const [state, script, head] of [
    ['dialling', () => {}, 'lazy'],
    ['streaming', stays(wire(1)), 'lazy'],
    ['waiting', answers(503), 'eager'],
  ] as const) {
    it(`is detected as disconnected while ${state}`, async () => {
      await using upstream = await serve(script)
      await using relay = await relayTo(upstream.url, { head, reconnect: { baseDelay: 60_000 } })
      const socket = net.connect(relay.server.port, '127.0.0.1')
      socket.on('error', () => {}).resume()
      socket.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n${'x'.repeat(1_000_000)}`)
      await until(
        () => upstream.requests.length === 1 && socket.writableLength === 0,
        () => 'the body is on its way',
      )
      socket.destroy()
      await settled(relay)
      expect(relay.summaries[0]).to.include({ outcome: 'client-gone' })
      await until(
        () => upstream.sockets.size === 0 || state === 'waiting',
        () => 'the upstream closes',
      )
    })
  }
})

describe('the events of one turn through a transform', () => {
  for (const fastPath of [true, false]) {
    it(`are one chunk of the response, with fastPath ${fastPath}`, async () => {
      await using upstream = await serve(ends(wire(1) + wire(2) + wire(3)))
      const options = {
        fastPath,
        transform: (event: SseEvent) => event,
        reconnect: { ...fast, maxRetries: 0 },
      }
      await using relay = await relayTo(upstream.url, options)
      const { text } = await raw(relay.server.port, 'GET / HTTP/1.1\r\nhost: us\r\nconnection: close\r\n\r\n')
      const [, body = ''] = text.split(/\r\n\r\n(.*)/s)
      const all = wire(1) + wire(2) + wire(3)
      expect(body).to.equal(`${all.length.toString(16)}\r\n${all}\r\n`)
    })

    it(`come before the lines that follow them, with fastPath ${fastPath}`, async () => {
      await using upstream = await serveInTurn(resets(wire(1) + wire(2)), stays(wire(3)))
      const options = { fastPath, transform: (event: SseEvent) => event, statusEvents: true, heartbeat: 5 }
      await using relay = await relayTo(upstream.url, options)
      using client = await get(relay.url)
      await has(client, `${wire(3)}:\n`)
      const status = (name: string) => `event: relay-status\ndata: {"status":"${name}"}\n\n`
      const events = wire(1) + wire(2) + status('reconnecting') + status('live') + wire(3)
      expect(client.text.replace(/^:\n/gm, '')).to.equal(events)
    })
  }
})
