import { getEventListeners, once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { inspect } from 'node:util'
import { expect } from 'chai'
import { createResilientSseSource, httpUpstream, SseError } from '../../src/index.ts'
import { dataOf, drain, fast, lastIs, next, wire } from '../support/events.ts'
import { mockUpstream } from '../support/mock.ts'
import { ends, resets, serve, serveInTurn, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

const options = { objectMode: true, reconnect: fast, isTerminal: lastIs('end') } as const

/** Counts the connections that it makes. */
class CountingAgent extends http.Agent {
  connections = 0

  override createConnection(...args: Parameters<http.Agent['createConnection']>) {
    this.connections++
    return super.createConnection(...args)
  }
}

describe('httpUpstream', () => {
  it("sends the context's headers, which the caller's headers replace", async () => {
    await using server = await serve(ends(wire(1, 'end')))
    const headers = { Accept: 'text/event-stream, */*', 'X-Key': 'k' }
    await drain(
      createResilientSseSource(httpUpstream(server.url, { headers }), { ...options, lastEventId: '7' }),
    )
    expect(server.requests[0]?.headers).to.include({
      accept: 'text/event-stream, */*',
      'cache-control': 'no-cache',
      'x-key': 'k',
      'last-event-id': '7',
    })
  })

  it("takes an undefined field for none, as a client's field is that the client has not sent", async () => {
    await using server = await serve(ends(wire(1, 'end')))
    const headers = { accept: undefined, cookie: undefined, 'X-Key': 'k' }
    const { error } = await drain(createResilientSseSource(httpUpstream(server.url, { headers }), options))
    expect(error).to.equal(undefined)
    expect(server.requests[0]?.headers).to.include({ accept: 'text/event-stream', 'x-key': 'k' })
    expect(server.requests[0]?.headers).to.not.have.property('cookie')
  })

  it("sends the caller's last-event-id only until there is a newer id", async () => {
    await using server = await serveInTurn(resets(wire(8)), ends(wire(9, 'end')))
    const headers = { 'Last-Event-ID': '7' }
    await drain(createResilientSseSource(httpUpstream(server.url, { headers }), options))
    expect(server.requests.map((request) => request.headers['last-event-id'])).to.deep.equal(['7', '8'])
  })

  it('sends the body with each attempt', async () => {
    const bodies: string[] = []
    await using server = await serve(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      bodies.push(`${request.method} ${body}`)
      ;(bodies.length === 1 ? resets(wire(1)) : ends(wire(2, 'end')))(request, response)
    })
    await drain(
      createResilientSseSource(httpUpstream(server.url, { method: 'POST', body: '{"q":1}' }), {
        ...options,
        resume: 'always',
      }),
    )
    expect(bodies).to.deep.equal(['POST {"q":1}', 'POST {"q":1}'])
  })

  it('reuses a connection after a clean end', async () => {
    const ports = new Set<number | undefined>()
    await using server = await serveInTurn(ends(wire(1)), ends(wire(2)), ends(wire(3, 'end')))
    server.server.on('request', ({ socket }) => ports.add(socket.remotePort))
    await drain(createResilientSseSource(httpUpstream(server.url), options))
    expect(server.requests).to.have.length(3)
    expect(ports.size).to.equal(1)
  })

  it('connects again at once when a kept-alive connection turns out to be closed', async () => {
    await using server = await serve((request, response) => {
      const n = server.requests.length
      // The second request comes over the first one's connection.
      if (n === 2) request.socket.resetAndDestroy()
      else ends(wire(n, n === 3 ? 'end' : 'x'))(request, response)
    })
    const source = createResilientSseSource(httpUpstream(server.url), options)
    expect(await dataOf(source)).to.deep.equal(['x', 'end'])
    expect(server.requests).to.have.length(3)
    expect(source.stats).to.include({ attempts: 2 })
  })

  it('does not connect again when a kept-alive connection is reset after the head of the answer', async () => {
    await using server = await serve((request, response) => {
      const n = server.requests.length
      // The second request comes over the first one's connection.
      if (n === 2) stays(wire(2))(request, response)
      else ends(wire(n, n === 3 ? 'end' : 'x'))(request, response)
    })
    const agent = new CountingAgent({ keepAlive: true })
    const source = createResilientSseSource(httpUpstream(server.url, { agent }), options)
    const data: unknown[] = []
    for await (const event of source) {
      data.push(event.data)
      // Not earlier: a reset that comes together with the head is no error of the request.
      if (event.data === 'event 2') for (const socket of server.sockets) socket.resetAndDestroy()
    }
    expect(data).to.deep.equal(['x', 'event 2', 'end'])
    expect(server.requests).to.have.length(3)
    expect(agent.connections).to.equal(2)
  })

  for (const [what, reason] of [
    ['a reason that is no Error', 'gone'],
    ['an error like that of a reset', Object.assign(new Error('gone'), { code: 'ECONNRESET' })],
  ] as const) {
    it(`does not connect again when an attempt on a kept-alive connection is aborted with ${what}`, async () => {
      await using server = await serve((request, response) => {
        if (server.requests.length === 1) ends(wire(1))(request, response)
      })
      const agent = new CountingAgent({ keepAlive: true })
      const factory = httpUpstream(server.url, { agent })
      const controller = new AbortController()
      const context = {
        attempt: 0,
        lastEventId: '',
        cursor: undefined,
        headers: {},
        signal: controller.signal,
        lastError: undefined,
      }
      const first = await factory(context)
      if (!(first instanceof http.IncomingMessage)) throw new Error('no response')
      await first.resume().toArray()
      const second = Promise.resolve(factory(context)).catch((error: unknown) => error)
      await until(
        () => server.requests.length === 2,
        () => 'the second request',
      )
      controller.abort(reason)
      expect(await second).to.equal(reason)
      expect(agent.connections).to.equal(1)
      expect(getEventListeners(controller.signal, 'abort')).to.have.length(0)
    })
  }

  it('does not connect for an attempt that is already aborted', async () => {
    const agent = new CountingAgent()
    const signal = AbortSignal.abort('gone')
    const context = {
      attempt: 0,
      lastEventId: '',
      cursor: undefined,
      headers: {},
      signal,
      lastError: undefined,
    }
    const outcome = await Promise.resolve(httpUpstream('http://127.0.0.1:9', { agent })(context)).catch(
      (error: unknown) => error,
    )
    expect(outcome).to.equal('gone')
    expect(agent.connections).to.equal(0)
  })

  it('uses only the signal of its attempt, not a signal among its options', async () => {
    await using server = await serve(stays(wire(1, 'end')))
    const controller = new AbortController()
    const given: object = { signal: controller.signal }
    const source = createResilientSseSource(httpUpstream(server.url, given), options)
    controller.abort()
    expect(await dataOf(source)).to.deep.equal(['end'])
  })

  it('fails an attempt that is answered with a change of protocols', async () => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
      )
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    const { error } = await drain(
      createResilientSseSource(httpUpstream(`http://127.0.0.1:${address.port}/`), {
        connectTimeout: 0,
        reconnect: { ...fast, maxRetries: 1 },
      }),
    )
    expect(error).to.have.nested.property('cause.code', 'ERR_SSE_CONNECT')
    server.close()
    await once(server, 'close')
  })

  it('speaks https to https: URLs', async () => {
    using upstream = mockUpstream('https://upstream.test')
    upstream.get('/events').reply(200, wire(1, 'end'), { 'content-type': 'text/event-stream' })
    expect(
      await dataOf(createResilientSseSource(httpUpstream('https://upstream.test/events'), options)),
    ).to.deep.equal(['end'])
  })

  it('gives its URL to the logs, redacted', async () => {
    await using server = await serve(stays(wire(1, 'end')))
    const url = new URL(server.url)
    url.username = 'user'
    url.password = 'secret'
    url.search = '?token=secret'
    const source = createResilientSseSource(httpUpstream(url), options)
    const open = next(source, 'open')
    await drain(source)
    expect((await open).upstream).to.equal(`http://127.0.0.1:${server.port}/events?token=*`)
    expect(server.requests[0]?.headers.authorization).to.equal(`Basic ${btoa('user:secret')}`)
  })

  it('has the method of its requests', () => {
    expect(httpUpstream('http://upstream.test/')).to.include({ method: 'GET', url: 'http://upstream.test/' })
    expect(httpUpstream('http://upstream.test/', { method: 'post' })).to.include({ method: 'POST' })
  })

  it('sends a POST without a body once, and reports that the request may have been processed', async () => {
    await using server = await serve((request, response) => {
      if (server.requests.length === 1) ends(wire(1))(request, response)
      else request.socket.resetAndDestroy()
    })
    const { chunks, error } = await drain(
      createResilientSseSource(httpUpstream(server.url, { method: 'POST' }), {
        ...options,
        resume: 'always',
        reconnect: {
          ...fast,
          shouldRetry: (error) => error instanceof SseError && error.code === 'ERR_SSE_DROPPED',
        },
      }),
    )
    expect(chunks).to.have.length(1)
    expect(error).to.include({ code: 'ERR_SSE_CONNECT', sent: true })
    expect(server.requests).to.have.length(2)
  })

  it("uses the caller's agent", async () => {
    await using server = await serve(ends(wire(1, 'end')))
    let used = false
    const agent = new http.Agent()
    const create = agent.createConnection.bind(agent)
    agent.createConnection = (...args: Parameters<typeof create>) => {
      used = true
      return create(...args)
    }
    await drain(createResilientSseSource(httpUpstream(server.url, { agent }), options))
    expect(used).to.equal(true)
  })

  it('refuses URLs of other schemes', () => {
    expect(() => httpUpstream('ftp://upstream.test/')).to.throw(TypeError, /scheme ftp:$/)
    for (const url of ['localhost:3000', 'localhost:3000/events?key=secret'])
      expect(() => httpUpstream(url)).to.throw(TypeError, /did you mean http:\/\/localhost:3000\?$/)
    expect(() => httpUpstream('user:50@upstream.test')).to.throw(TypeError, /scheme user:$/)
    expect(() => httpUpstream('nonsense')).to.throw(TypeError, 'Invalid URL')
    expect(() => httpUpstream('http://user:50%@upstream.test/')).to.throw(TypeError, 'percent-encoded')
  })

  it('shows no password of a URL that it refuses', () => {
    for (const url of [
      'http://user:secret@host:99999/',
      'http://user:secret%@host/',
      'ftp://user:secret@host/',
      '//user:secret@host/',
    ]) {
      let thrown: unknown
      try {
        httpUpstream(url)
      } catch (error) {
        thrown = error
      }
      expect(thrown, url).to.be.instanceOf(TypeError)
      expect(inspect(thrown, { showHidden: true }), url).not.to.include('secret')
    }
  })

  it('leaves no socket open when it is aborted while the answer arrives', async () => {
    await using server = await serve(() => {})
    const source = createResilientSseSource(httpUpstream(server.url), options)
    source.resume()
    await until(
      () => server.requests.length === 1,
      () => 'a request',
    )
    source.destroy()
    await until(
      () => server.sockets.size === 0,
      () => 'the socket closes',
    )
  })
})
