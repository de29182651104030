import { once } from 'node:events'
import http, { type RequestListener } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { Cancellation } from '../../src/http/cancellation.ts'
import { directRequestsTo, makeAgent } from '../../src/http/direct-agent.ts'
import { DirectRequests } from '../../src/http/direct-request.ts'
import { DirectSocket } from '../../src/http/direct-socket.ts'
import { IdleSockets } from '../../src/http/idle-sockets.ts'
import { MemorySocket } from '../../src/http/memory-socket.ts'
import { areRequestsProven } from '../../src/http/request-check.ts'
import { library, runModule } from '../support/child.ts'
import { dial } from '../support/dialling.ts'
import { serve } from '../support/server.ts'
import { until } from '../support/until.ts'

/** A server whose agent has one idle connection. */
async function idleAt(handler: RequestListener) {
  const server = await serve((req, res) => (req.url === '/first' ? res.end('first') : handler(req, res)))
  server.server.keepAliveTimeout = 0
  const agent = makeAgent('http:', true)
  const direct = directRequestsTo(agent, { hostname: '127.0.0.1', port: server.port })
  if (!direct) throw new Error('no direct requests')
  await until(areRequestsProven, () => 'the check')
  const response = await dial(server.url.replace('/events', '/first'), { agent })
  response.resume()
  await once(response, 'close')
  await nextTurn()
  return {
    server,
    direct,
    /** The agent's only connection. */
    socket: (): Socket => {
      const [socket] = Object.values(agent.sockets).flat()
      if (!socket) throw new Error('no connection')
      return socket
    },
    async [Symbol.asyncDispose]() {
      agent.destroy()
      await server.close()
    },
  }
}

function send(direct: DirectRequests, { port }: { port: number }, signal = new Cancellation(), fields = {}) {
  const headers = { host: `127.0.0.1:${port}`, ...fields }
  return direct.send({
    path: '/',
    fields: new Map(Object.entries(headers).map(([name, value]) => [name, [String(value)]])),
    signal,
    call: () => ({ options: { host: '127.0.0.1', port, headers }, signal }),
  })
}

describe('a request past node:http', () => {
  it('gets a short answer as a whole, and leaves its connection idle', async () => {
    await using idle = await idleAt((_, res) =>
      res.writeHead(299, 'So so', { 'x-a': 'b', 'content-length': 6 }).end('answer'),
    )
    for (let n = 0; n < 2; n++) {
      const answer = await send(idle.direct, idle.server)
      expect(answer).to.include({ statusCode: 299, statusMessage: 'So so', text: 'answer' })
      expect(answer?.rawHeaders.slice(0, 2)).to.deep.equal(['x-a', 'b'])
    }
    expect(idle.server.sockets.size).to.equal(1)
  })

  it('is not sent without an idle connection: of another host, or while another request has it', async () => {
    await using idle = await idleAt((_, res) => void setImmediate(() => res.end('answer')))
    const { direct, server } = idle
    const [agent, port] = [makeAgent('http:', true), server.port]
    expect(send(directRequestsTo(agent, { hostname: 'localhost', port }) ?? direct, server)).to.equal(
      undefined,
    )
    agent.destroy()
    const first = send(direct, server)
    expect(send(direct, server)).to.equal(undefined)
    expect(await first).to.have.property('text', 'answer')
  })

  it('is not sent for agents whose idle connections node:http keeps', () => {
    const address = { hostname: '127.0.0.1', port: 1 }
    for (const agent of [new http.Agent(), makeAgent('http:', false), makeAgent('https:', true)]) {
      expect(directRequestsTo(agent, address)).to.equal(undefined)
    }
  })

  it('is not sent on a version of Node on which the check fails', () => {
    const agent = makeAgent('http:', true)
    const idle = new IdleSockets(agent, () => true)
    const socket = new MemorySocket()
    idle.add(socket, { host: '127.0.0.1', port: 80 })
    idle.keep(socket, [])
    const requests = (isProven: boolean) => new DirectRequests(idle, '127.0.0.1:80:', () => isProven)
    const reader = new DirectSocket(socket)
    expect(send(requests(false), { port: 80 })).to.equal(undefined)
    expect(send(requests(true), { port: 80 })).not.to.equal(undefined)
    expect(reader.unreadLength).to.equal(0)
    socket.destroy()
  })

  for (const [what, fields] of [
    ['a name that is no token', { 'x a': '1' }],
    ['a line end in a value', { 'x-a': '1\r\nx-b: 2' }],
    ['a character beyond latin1', { 'x-a': '日' }],
    ['an expectation', { expect: '100-continue' }],
  ] as const) {
    it(`is left to node:http with ${what}`, async () => {
      await using idle = await idleAt((_, res) => res.end('answer'))
      expect(send(idle.direct, idle.server, new Cancellation(), fields)).to.equal(undefined)
      expect(await send(idle.direct, idle.server)).to.have.property('text', 'answer')
    })
  }

  for (const path of ['', '*', 'http://other.test/', '/a b', '/a\r\nb', '/日']) {
    it(`is left to node:http with the path ${JSON.stringify(path)}`, async () => {
      await using idle = await idleAt((_, res) => res.end('answer'))
      const signal = new Cancellation()
      const call = () => ({ options: { headers: {} }, signal })
      expect(idle.direct.send({ path, fields: new Map(), signal, call })).to.equal(undefined)
    })
  }

  it('rejects with the reason of its signal, and closes its connection', async () => {
    await using idle = await idleAt(() => {})
    const signal = new Cancellation()
    const answer = send(idle.direct, idle.server, signal)
    await until(
      () => idle.server.requests.length === 2,
      () => 'the request',
    )
    const reason = new Error('enough')
    signal.abort(reason)
    expect(await answer?.catch((error: unknown) => error)).to.equal(reason)
    await until(
      () => idle.server.sockets.size === 0,
      () => 'the connection closes',
    )
    expect(send(idle.direct, idle.server, signal)).to.equal(undefined)
  })

  it('has no part in its connection once it is answered', async () => {
    await using idle = await idleAt((_, res) => res.end('answer'))
    const signal = new Cancellation()
    await send(idle.direct, idle.server, signal)
    signal.abort(new Error('late'))
    expect(await send(idle.direct, idle.server)).to.have.property('text', 'answer')
    expect(idle.server.sockets.size).to.equal(1)
  })

  for (const [code, isRepeated] of [
    ['ECONNRESET', true],
    ['EPIPE', true],
    ['ETIMEDOUT', false],
  ] as const) {
    it(`${isRepeated ? 'is repeated on a new connection' : 'fails'} after ${code} without a byte`, async () => {
      await using idle = await idleAt((_, res) => idle.server.requests.length > 2 && res.end('again'))
      const answer = send(idle.direct, idle.server)
      await until(
        () => idle.server.requests.length === 2,
        () => 'the request',
      )
      idle.socket().destroy(Object.assign(new Error(code), { code }))
      const outcome: unknown = await answer?.catch((error: unknown) => error)
      if (isRepeated) expect(outcome).to.have.property('statusCode', 200)
      else expect(outcome).to.include({ code: 'ERR_SSE_CONNECT', sent: true })
      expect(idle.server.requests).to.have.length(isRepeated ? 3 : 2)
    })
  }

  it('does not end a process in which the check fails', async () => {
    const { code, out, err } = await runModule(
      `
      import http from 'node:http'
      import { createSseProxy } from ${JSON.stringify(library)}
      http.ClientRequest.prototype.onSocket = function () {
        process.nextTick(() => this.emit('error', new Error('another version of Node')))
      }
      createSseProxy({ upstream: 'http://127.0.0.1:1' })
      setTimeout(() => console.log('done'), 50)
      `,
      [],
      { DEBUG: 'resilient-sse:fast-path' },
    )
    expect([code, out]).to.deep.equal([0, 'done\n'])
    expect(err).to.include('node:http sends all requests')
  })

  it('refuses a head that is too long for node:http as node:http does', async () => {
    await using long = await serve((req, res) => {
      if (req.url === '/long') res.setHeader('x-a', 'b'.repeat(2000))
      res.end('answer')
    })
    const { code, out } = await runModule(
      `
      import http from 'node:http'
      import { createSseProxy } from ${JSON.stringify(library)}
      const server = http.createServer(createSseProxy({ upstream: 'http://127.0.0.1:${long.port}' }))
      server.listen(0, '127.0.0.1', async () => {
        for (const path of ['/', '/long', '/']) {
          const { status } = await fetch('http://127.0.0.1:' + server.address().port + path)
          console.log(status)
        }
        server.close().closeAllConnections()
      })
      `,
      [],
      { NODE_OPTIONS: '--max-http-header-size=1000' },
    )
    expect([code, out]).to.deep.equal([0, '200\n502\n200\n'])
  })
})
