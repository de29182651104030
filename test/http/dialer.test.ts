import { getEventListeners, once } from 'node:events'
import type http from 'node:http'
import type { InformationEvent } from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { SseError } from '../../src/errors.ts'
import { isIdempotent } from '../../src/http/dialer.ts'
import { certificate } from '../support/certificate.ts'
import {
  CountingAgent,
  countsOf,
  type DialOptions,
  dial,
  echo,
  failureOf,
  fillPool,
  read,
  serveRaw,
  serveTls,
} from '../support/dialling.ts'
import { answers, freePort, serve, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

describe('dialHttp', () => {
  it('sends method, fields and body, and returns the response', async () => {
    await using server = await serve(echo)
    const headers = { 'x-a': ['1', '2'], 'x-b': '3' }
    expect(await read(dial(server.url, { method: 'POST', headers, body: 'bytes' }))).to.equal('POST bytes')
    const [request] = server.requests
    expect(request?.headersDistinct['x-a']).to.deep.equal(['1', '2'])
    expect(request?.headers).to.include({ 'x-b': '3', 'content-length': '5' })
  })

  it('lets its caller write the body', async () => {
    await using server = await serve(echo)
    const body = (request: http.ClientRequest) => {
      request.write('by ')
      request.end('parts')
    }
    expect(await read(dial(server.url, { method: 'PUT', body }))).to.equal('PUT by parts')
  })

  it('connects to an IPv6 address without its brackets, and sends the Host field with them', async () => {
    await using server = await serve((req, res) => res.end(req.headers.host))
    let asked: string | null | undefined
    using agent = new CountingAgent()
    agent.createConnection = (options) => {
      asked = options.host
      return net.connect(server.port, '127.0.0.1')
    }
    expect(await read(dial(`http://[::1]:${server.port}/`, { agent }))).to.equal(`[::1]:${server.port}`)
    expect(asked).to.equal('::1')
  })

  it('sends the credentials of a URL, and does not show them in its error', async () => {
    await using server = await serve((req, res) => res.end(req.headers.authorization))
    const url = (port: number) => `http://us%C3%A9r:p%40ss@127.0.0.1:${port}/`
    expect(await read(dial(url(server.port)))).to.equal(
      `Basic ${Buffer.from('usér:p@ss').toString('base64')}`,
    )
    const error = await failureOf(dial(url(await freePort())))
    expect(error).to.be.instanceOf(SseError)
    expect(JSON.stringify(error) + String(error)).not.to.match(/p@ss|p%40ss/)
  })

  it("rejects with Node's error for a field that cannot be sent", async () => {
    const error = await failureOf(dial('http://127.0.0.1:9/', { headers: { 'x-a': 'a\nb' } }))
    expect(error).to.be.instanceOf(TypeError).and.have.property('code', 'ERR_INVALID_CHAR')
  })

  describe('tells in `sent` whether the request may have been processed:', () => {
    const neverConnects: DialOptions = { lookup: () => {} }

    it('false when no server listens, with all addresses in the message', async () => {
      const port = await freePort()
      const lookup: net.LookupFunction = (_, __, callback) =>
        callback(null, [
          { address: '127.0.0.1', family: 4 },
          { address: '127.0.0.2', family: 4 },
        ])
      const error = await failureOf(dial(`http://two.test:${port}/`, { lookup, method: 'POST' }))
      expect(error).to.include({
        code: 'ERR_SSE_CONNECT',
        sent: false,
        message: `the upstream could not be reached: ECONNREFUSED 127.0.0.1:${port}, ECONNREFUSED 127.0.0.2:${port}`,
      })
      expect(error).to.have.nested.property('cause.code', 'ECONNREFUSED')
    })

    it('false for an unknown host', async () => {
      const unknown = Object.assign(new Error('getaddrinfo ENOTFOUND no.test'), { code: 'ENOTFOUND' })
      const lookup: net.LookupFunction = (_, __, callback) => callback(unknown, '')
      const error = await failureOf(dial('http://no.test/', { lookup, method: 'POST' }))
      expect(error).to.include({ sent: false, cause: unknown })
    })

    it('false when the connection times out', async () => {
      const timeout = Object.assign(new Error('connect ETIMEDOUT'), { code: 'ETIMEDOUT' })
      using agent = new CountingAgent()
      agent.createConnection = () => {
        const socket = net.connect({ port: 9, host: 'no.test', lookup: () => {} })
        setImmediate(() => socket.destroy(timeout))
        return socket
      }
      expect(await failureOf(dial('http://no.test/', { agent, method: 'POST' }))).to.include({ sent: false })
    })

    it('false when the certificate is not trusted', async () => {
      let requests = 0
      await using server = await serveTls(() => requests++)
      expect(await failureOf(dial(server.url, { method: 'POST', body: 'bytes' }))).to.include({ sent: false })
      expect(requests).to.equal(0)
    })

    it('false when the server does not use TLS', async () => {
      await using server = await serveRaw('HTTP/1.1 400 Bad Request\r\n\r\n')
      const url = server.url.replace('http:', 'https:')
      expect(await failureOf(dial(url, { method: 'POST' }))).to.include({ sent: false })
    })

    const switching = 'HTTP/1.1 101 Switching Protocols\r\n'
    for (const [what, onData, message] of [
      ['resets', (socket: net.Socket) => socket.resetAndDestroy(), 'ECONNRESET'],
      ['closes', (socket: net.Socket) => socket.end(), 'socket hang up'],
      ['speaks another protocol', '220 ready\r\n', 'Parse Error'],
      ['changes protocols', `${switching}upgrade: x\r\nconnection: upgrade\r\n\r\n`, 'changed protocols'],
      ['changes protocols without a name', `${switching}\r\n`, 'changed protocols'],
    ] as const) {
      it(`true when the upstream ${what}`, async () => {
        await using server = await serveRaw(onData)
        const error = await failureOf(dial(server.url))
        expect(error).to.include({ code: 'ERR_SSE_CONNECT', sent: true })
        expect(error).to.have.property('message').that.includes(message)
        await until(
          () => server.sockets.size === 0,
          () => 'the connection closes',
        )
      })
    }

    it('true when the upstream closes a TLS connection', async () => {
      await using server = await serveTls(({ socket }) => socket.destroy())
      const agent = new https.Agent({ ca: certificate.cert })
      expect(await failureOf(dial(server.url, { agent }))).to.include({ sent: true })
      agent.destroy()
    })

    it('absent when the signal is aborted while connecting, whose reason is the error', async () => {
      const controller = new AbortController()
      const error = failureOf(dial('http://no.test/', { ...neverConnects, signal: controller.signal }))
      controller.abort(new SseError('ERR_SSE_CONNECT_TIMEOUT', 'late'))
      expect(await error).to.equal(controller.signal.reason)
    })
  })

  describe('with an aborted signal', () => {
    const reset = Object.assign(new Error('reset'), { code: 'ECONNRESET' })
    for (const [what, reason] of [
      ['a reason that is not an Error', 'stopped'],
      ['an error like the error of a reset', reset],
    ] as const) {
      it(`before the call, with ${what}: opens no connection`, async () => {
        using agent = new CountingAgent()
        expect(
          await failureOf(dial('http://127.0.0.1:9/', { agent, signal: AbortSignal.abort(reason) })),
        ).to.equal(reason)
        expect(agent.connections).to.equal(0)
      })

      for (const when of ['right after the call', 'while it connects'] as const) {
        it(`${when}, with ${what}: closes the socket`, async () => {
          const { signal, ...controller } = abortable()
          using agent = new CountingAgent()
          const error = failureOf(dial('http://no.test/', { agent, signal, lookup: () => {} }))
          if (when === 'while it connects') await nextTurn()
          controller.abort(reason)
          expect(await error).to.equal(reason)
          await noneLeft(signal, agent)
          expect(agent.connections).to.equal(1)
        })
      }

      it(`while the request waits in the agent's queue, with ${what}: sends nothing`, async () => {
        await using server = await serve(stays())
        const { signal, ...controller } = abortable()
        using agent = new CountingAgent({ maxSockets: 1 })
        const stream = await dial(server.url, { agent })
        const error = failureOf(dial(server.url, { agent, signal }))
        controller.abort(reason)
        expect(await error).to.equal(reason)
        stream.on('error', () => {}).destroy()
        // Node may open a connection anyway, and keeps it in the pool.
        await until(
          () => countsOf(agent)[0] === 0 && countsOf(agent)[2] === 0,
          () => `left: ${countsOf(agent)}`,
        )
        expect(getEventListeners(signal, 'abort')).to.have.length(0)
        expect(server.requests).to.have.length(1)
      })

      it(`while it waits for the head on a kept-alive connection, with ${what}: does not send the request again`, async () => {
        await using server = await serve((_, res) => {
          if (server.requests.length === 1) res.end()
        })
        const { signal, ...controller } = abortable()
        using agent = new CountingAgent()
        await fillPool(server.url, agent)
        const error = failureOf(dial(server.url, { agent, signal }))
        await until(
          () => server.requests.length === 2,
          () => 'the second request',
        )
        controller.abort(reason)
        expect(await error).to.equal(reason)
        await noneLeft(signal, agent)
        expect([server.requests.length, agent.connections]).to.deep.equal([2, 1])
      })

      it(`during the second attempt, with ${what}: closes its connection`, async () => {
        await using server = await serve((req, res) => {
          if (server.requests.length === 1) res.end()
          if (server.requests.length === 2) req.socket.resetAndDestroy()
        })
        const { signal, ...controller } = abortable()
        using agent = new CountingAgent()
        await fillPool(server.url, agent)
        const error = failureOf(dial(server.url, { agent, signal }))
        await until(
          () => server.requests.length === 3,
          () => 'the second attempt',
        )
        controller.abort(reason)
        expect(await error).to.equal(reason)
        await noneLeft(signal, agent)
        await until(
          () => server.sockets.size === 0,
          () => 'the sockets close',
        )
      })

      it(`after the head, with ${what}: destroys the response`, async () => {
        await using server = await serve(stays())
        const { signal, ...controller } = abortable()
        using agent = new CountingAgent()
        const response = await dial(server.url, { agent, signal })
        const error = once(response, 'error')
        controller.abort(reason)
        await error
        await noneLeft(signal, agent)
      })
    }

    it('after the end of the response: has no listener, and does not affect the connection', async () => {
      await using server = await serve(answers(200))
      const { signal, ...controller } = abortable()
      using agent = new CountingAgent()
      await read(dial(server.url, { agent, signal }))
      await until(
        () => countsOf(agent)[1] === 1,
        () => 'the connection is idle',
      )
      expect(getEventListeners(signal, 'abort')).to.have.length(0)
      controller.abort()
      expect(countsOf(agent)).to.deep.equal([0, 1, 0])
    })
  })

  it('reports interim responses', async () => {
    await using server = await serve((_, res) => {
      res.writeProcessing()
      res.writeEarlyHints({ link: '</a.css>; rel=preload' })
      res.end('final')
    })
    const told: InformationEvent[] = []
    const response = await dial(server.url, { onInformation: (information) => told.push(information) })
    expect(response.statusCode).to.equal(200)
    expect(told.map(({ statusCode, headers }) => [statusCode, headers.link])).to.deep.equal([
      [102, undefined],
      [103, '</a.css>; rel=preload'],
    ])
    response.resume()
  })
})

function abortable() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: (reason?: unknown) => controller.abort(reason) }
}

/** Waits until a request has left no listener on its signal, no connection and no entry in the agent's queue. */
async function noneLeft(signal: AbortSignal, agent: http.Agent): Promise<void> {
  const left = () => [getEventListeners(signal, 'abort').length, ...countsOf(agent)]
  await until(
    () => left().every((count) => count === 0),
    () => `left: ${left()}`,
  )
}

describe('isIdempotent', () => {
  for (const [method, idempotent] of [
    ['GET', true],
    ['get', true],
    ['TRACE', true],
    ['POST', false],
    ['PATCH', false],
    ['QUERY', false],
    ['', false],
  ] as const) {
    it(`returns ${idempotent} for ${JSON.stringify(method)}`, () => {
      expect(isIdempotent(method)).to.equal(idempotent)
    })
  }
})
