import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import http, { type IncomingMessage, type RequestListener } from 'node:http'
import { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { makeAgent } from '../../src/http/direct-agent.ts'
import { IdleSockets } from '../../src/http/idle-sockets.ts'
import { library, runModule } from '../support/child.ts'
import { CountingAgent, countsOf, dial, fillPool, read, serveRaw } from '../support/dialling.ts'
import { serve as serveUncounted, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/** The connections of servers so far. */
const connections = new WeakMap<TestServer, number>()
const connectionsOf = (server: TestServer) => connections.get(server) ?? 0

async function serve(handler: RequestListener): Promise<TestServer> {
  const server = await serveUncounted(handler)
  // It closes no connection by itself.
  server.server.keepAliveTimeout = 0
  server.server.on('connection', () => connections.set(server, connectionsOf(server) + 1))
  return server
}

/** The answer to a request, read to its end, when its connection is free. */
async function ask(
  url: string,
  agent: http.Agent,
  options: http.RequestOptions = {},
): Promise<IncomingMessage> {
  const request = http.get(url, { agent, ...options })
  const [response]: IncomingMessage[] = await once(request, 'response')
  if (response === undefined) throw new Error('no response')
  response.resume()
  await once(request, 'close')
  await nextTurn()
  return response
}

describe('the idle connections of an agent', () => {
  let agent: http.Agent
  beforeEach(async () => {
    agent = makeAgent('http:', true)
    // The check of this version of Node takes a few ticks.
    await nextTurn()
    await nextTurn()
  })
  afterEach(() => agent.destroy())

  it('are used again, the latest one first, and are not in the lists of node:http', async () => {
    await using server = await serve((_, response) => response.end('answer'))
    await Promise.all([ask(server.url, agent), ask(server.url, agent)])
    expect(countsOf(agent)).to.deep.equal([2, 0, 0])
    for (let n = 0; n < 3; n++) await ask(server.url, agent)
    expect(connectionsOf(server)).to.equal(2)
    const [, , ...later] = server.requests.map(({ socket }) => socket.remotePort)
    expect(new Set(later).size).to.equal(1)
  })

  it('say in the request that they were used before', async () => {
    await using server = await serve((_, response) => response.end('answer'))
    const reused: boolean[] = []
    for (let n = 0; n < 2; n++) {
      const request = http.get(server.url, { agent })
      request.on('response', (response) => response.resume())
      await once(request, 'close')
      reused.push(request.reusedSocket)
      await nextTurn()
    }
    expect(reused).to.deep.equal([false, true])
  })

  it('are those of one host each', async () => {
    await using one = await serve((_, response) => response.end('one'))
    await using other = await serve((_, response) => response.end('other'))
    for (let n = 0; n < 2; n++) {
      expect(await read(dial(one.url, { agent }))).to.equal('one')
      expect(await read(dial(other.url, { agent }))).to.equal('other')
      await nextTurn()
    }
    expect([connectionsOf(one), connectionsOf(other)]).to.deep.equal([1, 1])
  })

  for (const seconds of [0, 1]) {
    it(`are closed when the server announces ${seconds} s, which is over before it could be used`, async () => {
      await using server = await serve((_, response) => {
        response
          .writeHead(200, { connection: 'keep-alive', 'keep-alive': `timeout=${seconds}` })
          .end('answer')
      })
      await ask(server.url, agent)
      await until(
        () => server.sockets.size === 0,
        () => `open: ${server.sockets.size}`,
      )
      await ask(server.url, agent)
      expect(connectionsOf(server)).to.equal(2)
    })
  }

  it('are closed a second before the time that the server announces', async () => {
    await using server = await serve((_, response) => {
      response.writeHead(200, { connection: 'keep-alive', 'keep-alive': 'timeout=2, max=100' }).end('answer')
    })
    await ask(server.url, agent)
    const [socket] = server.sockets
    const idle = Object.values(agent.sockets).flat()
    expect(idle.map((each) => each?.timeout)).to.deep.equal([1000])
    if (socket) await once(socket, 'close')
    await until(
      () => countsOf(agent)[0] === 0,
      () => `open: ${countsOf(agent)}`,
    )
    await ask(server.url, agent)
    expect(connectionsOf(server)).to.equal(2)
  })

  it('are not closed by that time while a request has them', async () => {
    let answer = () => {}
    await using server = await serve((_, response) => {
      response.setHeader('connection', 'keep-alive').setHeader('keep-alive', 'timeout=2')
      if (server.requests.length === 1) response.end('first')
      else answer = () => response.end('late')
    })
    await ask(server.url, agent)
    const request = http.get(server.url, { agent })
    const [socket]: Socket[] = await once(request, 'socket')
    const answered = once(request, 'response')
    if (socket) await once(socket, 'timeout')
    answer()
    const [response]: IncomingMessage[] = await answered
    expect(response?.statusCode).to.equal(200)
    expect(connectionsOf(server)).to.equal(1)
    response?.resume()
    await once(request, 'close')
  })

  it('are forgotten when the server closes them', async () => {
    await using server = await serve((_, response) => response.end('answer'))
    await ask(server.url, agent)
    for (const socket of server.sockets) socket.end()
    await until(
      () => countsOf(agent)[0] === 0,
      () => `open: ${countsOf(agent)}`,
    )
    await ask(server.url, agent)
    expect(connectionsOf(server)).to.equal(2)
  })

  it('are closed when bytes come without a request', async () => {
    await using server = await serve((_, response) => response.end('answer'))
    await ask(server.url, agent)
    for (const socket of server.sockets) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong')
    await until(
      () => countsOf(agent)[0] === 0,
      () => `open: ${countsOf(agent)}`,
    )
    expect(await read(dial(server.url, { agent }))).to.equal('answer')
    expect(connectionsOf(server)).to.equal(2)
  })

  it('cause no uncaught error when they are reset', async () => {
    await using server = await serve((_, response) => response.end('answer'))
    await ask(server.url, agent)
    for (const socket of server.sockets) socket.resetAndDestroy()
    await until(
      () => countsOf(agent)[0] === 0,
      () => `open: ${countsOf(agent)}`,
    )
  })

  it('are 256 of one host at most', async () => {
    const waiting: (() => void)[] = []
    await using server = await serve((_, response) => waiting.push(() => response.end('answer')))
    const asked = Array.from({ length: 260 }, () => ask(server.url, agent))
    await until(
      () => waiting.length === 260,
      () => `requests: ${waiting.length}`,
    )
    for (const answer of waiting) answer()
    await Promise.all(asked)
    await until(
      () => countsOf(agent)[0] === 256 && server.sockets.size === 256,
      () => `open: ${countsOf(agent)}`,
    )
  })

  it('are closed with the agent', async () => {
    await using server = await serve((_, response) => response.end('answer'))
    await ask(server.url, agent)
    agent.destroy()
    await until(
      () => server.sockets.size === 0,
      () => `open: ${server.sockets.size}`,
    )
  })

  it('serve the next request after one that was destroyed at once', async () => {
    await using server = await serve((_, response) => response.end('answer'))
    await ask(server.url, agent)
    const request = http.get(server.url, { agent }).on('error', () => {})
    await new Promise((resolve) => request.on('close', resolve).destroy())
    await nextTurn()
    expect(await read(dial(server.url, { agent }))).to.equal('answer')
    expect(server.requests.length).to.equal(2)
  })

  it('go to a request with a time limit of its own as with node:http', async () => {
    await using server = await serve((request, response) => {
      if (request.url !== '/never') response.end('answer')
    })
    await ask(server.url, agent)
    const request = http.get(server.url.replace('/events', '/never'), { agent, timeout: 20 })
    request.on('error', () => {})
    await once(request, 'timeout')
    request.destroy()
  })

  it('pass events on in the asynchronous context of the request that has them', async () => {
    await using server = await serve((_, response) => response.end('answer'))
    const storage = new AsyncLocalStorage<string>()
    const seen: (string | undefined)[] = []
    for (const name of ['first', 'second']) {
      await storage.run(name, async () => {
        const request = http.get(server.url, { agent })
        request.on('socket', (socket) => socket.once('data', () => seen.push(storage.getStore())))
        request.on('response', (response) => {
          seen.push(storage.getStore())
          response.on('data', () => seen.push(storage.getStore()))
        })
        await once(request, 'close')
      })
      await nextTurn()
    }
    expect(connectionsOf(server)).to.equal(1)
    expect(seen).to.deep.equal(['first', 'first', 'first', 'second', 'second', 'second'])
  })

  it('let the process end, and do not while a request has them', async () => {
    await using server = await serve((_, response) => {
      setTimeout(() => response.end(`answer ${server.requests.length} `), 50)
    })
    const { code, out } = await runModule(`
      import http from 'node:http'
      import { makeAgent } from ${JSON.stringify(new URL('../../src/http/direct-agent.ts', import.meta.url).href)}
      const agent = makeAgent('http:', true)
      const ask = (onAnswer) => http.get(${JSON.stringify(server.url)}, { agent }, (response) => response.pipe(process.stdout, { end: false }))
        .on('close', () => setImmediate(onAnswer))
      ask(() => ask(() => {}))
    `)
    expect([code, out]).to.deep.equal([0, 'answer 1 answer 2 '])
    expect(connectionsOf(server)).to.equal(1)
  })

  it('hold no request', async () => {
    await using server = await serve((_, response) => response.end('answer'))
    await ask(server.url, agent)
    const messages = Object.values(agent.sockets)
      .flat()
      .map((socket) => socket && Reflect.get(socket, '_httpMessage'))
    expect(messages).to.deep.equal([null])
  })

  it('are closed after an answer that closes, also when the server does not', async () => {
    await using server = await serveRaw('HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok')
    await ask(server.url, agent)
    await until(
      () => countsOf(agent)[0] === 0,
      () => `open: ${countsOf(agent)}`,
    )
  })

  it('are kept by node:http in a process that mocks HTTP from the start', async () => {
    const { code, out, err } = await runModule(
      `
      import nock from 'nock'
      import { httpUpstream, createResilientSseSource } from ${JSON.stringify(library)}
      nock.disableNetConnect()
      nock.emitter.on('no match', (request) => console.log('asked', request.path))
      for (const id of [1, 2]) {
        const events = 'id: ' + id + '\\ndata: a\\n\\n'
        nock('http://upstream.test').get('/').reply(200, events, { 'content-type': 'text/event-stream' })
      }
      const source = createResilientSseSource(httpUpstream('http://upstream.test/'), {
        reconnect: { baseDelay: 1 },
        isTerminal: ({ id }) => id === '2',
      })
      source.pipe(process.stdout)
      `,
      [],
      { DEBUG: 'resilient-sse:fast-path' },
    )
    expect([code, out]).to.deep.equal([0, 'id: 1\ndata: a\n\nid: 2\ndata: a\n\n'])
    expect(err).to.include('node:http keeps idle connections').and.to.include('node:http reads all bodies')
  })

  it('are kept by node:http without the fast path', async () => {
    await using server = await serve((_, response) => response.end('answer'))
    const slow = makeAgent('http:', false)
    await fillPool(server.url, slow)
    slow.destroy()
  })

  for (const [what, isProven, isKnown] of [
    ['on a version of Node on which the check fails', false, true],
    ['for a connection that the agent did not make', true, false],
  ] as const) {
    it(`are kept by node:http ${what}`, async () => {
      await using server = await serve((_, response) => response.end('answer'))
      using other = new CountingAgent()
      const idle = new IdleSockets(other, () => isProven)
      const createConnection = other.createConnection.bind(other)
      other.createConnection = (options, callback) => {
        const socket = createConnection(options, callback)
        if (isKnown && socket instanceof Socket) idle.add(socket, options)
        return socket
      }
      await fillPool(server.url, other)
      await fillPool(server.url, other)
      expect(other.connections).to.equal(1)
    })
  }
})
