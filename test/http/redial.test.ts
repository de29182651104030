import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import { expect } from 'chai'
import { certificate } from '../support/certificate.ts'
import {
  CountingAgent,
  countsOf,
  dial,
  echo,
  failureOf,
  fillPool,
  read,
  serveTls,
} from '../support/dialling.ts'
import { answers, serve, stays, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Like the agents of the package agent-base: `createConnection` works only when the agent's own `createSocket` calls it. */
class CreateSocketAgent extends CountingAgent {
  #isCreating = false

  createSocket(...args: unknown[]): void {
    setImmediate(() => {
      this.#isCreating = true
      // @ts-expect-error A method of node's that its types do not have.
      super.createSocket(...args)
      this.#isCreating = false
    })
  }

  override createConnection(...args: Parameters<http.Agent['createConnection']>) {
    if (!this.#isCreating) throw new Error('no connection was made')
    return super.createConnection(...args)
  }
}

/** Closes all connections of a server. The client, in the same process, notices only in a later turn of the event loop. */
function closeAll({ sockets }: Pick<TestServer, 'sockets'>): void {
  for (const socket of sockets) socket.resetAndDestroy()
}

describe('dialHttp on a kept-alive connection that was closed', () => {
  for (const connections of [1, 5]) {
    it(`opens a single new connection, with a pool of ${connections}`, async () => {
      await using server = await serve(answers(200))
      using agent = new CountingAgent()
      await fillPool(server.url, agent, connections)
      closeAll(server)
      expect(await read(dial(server.url, { agent }))).to.equal('no')
      expect(server.requests).to.have.length(connections + 1)
      expect(agent.connections).to.equal(connections + 1)
    })
  }

  it('uses no live connection of the pool, and adds the new connection to the pool', async () => {
    await using server = await serve((req, res) => {
      if (server.requests.length === 4) req.socket.resetAndDestroy()
      else res.end('fine')
    })
    using agent = new CountingAgent()
    await fillPool(server.url, agent, 3)
    expect(await read(dial(server.url, { agent }))).to.equal('fine')
    await until(
      () => countsOf(agent).join() === '0,3,0',
      () => `connections: ${countsOf(agent)}`,
    )
    expect(agent.connections).to.equal(4)
    expect(await read(dial(server.url, { agent }))).to.equal('fine')
    expect(agent.connections).to.equal(4)
  })

  it('opens a connection that agent.destroy() closes', async () => {
    await using server = await serve((req, res) =>
      server.requests.length === 1 ? res.end() : stays()(req, res),
    )
    using agent = new CountingAgent()
    await fillPool(server.url, agent)
    closeAll(server)
    const stream = await dial(server.url, { agent })
    const error = once(stream, 'error')
    agent.destroy()
    await error
  })

  for (const [code, times] of [
    ['ECONNRESET', 2],
    ['EPIPE', 2],
    ['ECONNABORTED', 2],
    ['ETIMEDOUT', 1],
  ] as const) {
    it(`${times === 1 ? 'does not repeat' : 'repeats'} the request after ${code}`, async () => {
      await using server = await serve((_, res) => {
        if (server.requests.length !== 2) res.end('fine')
      })
      using agent = new CountingAgent()
      await fillPool(server.url, agent)
      const response = dial(server.url, { agent })
      const outcome = response.then(
        () => 'answered',
        (error: unknown) => error,
      )
      await until(
        () => server.requests.length === 2,
        () => 'the second request',
      )
      const cause = Object.assign(new Error('closed'), { code })
      for (const socket of Object.values(agent.sockets).flat()) socket?.destroy(cause)
      if (times === 1) expect(await outcome).to.include({ sent: true, cause })
      else expect(await read(response)).to.equal('fine')
      expect(agent.connections).to.equal(times)
    })
  }

  it('repeats the request after a clean close too', async () => {
    await using server = await serve(answers(200))
    using agent = new CountingAgent()
    await fillPool(server.url, agent)
    for (const socket of server.sockets) socket.destroy()
    expect(await read(dial(server.url, { agent }))).to.equal('no')
    expect(agent.connections).to.equal(2)
  })

  it('repeats the request only once', async () => {
    await using server = await serve((req, res) => {
      if (server.requests.length === 1) res.end()
      else req.socket.resetAndDestroy()
    })
    using agent = new CountingAgent()
    await fillPool(server.url, agent)
    expect(await failureOf(dial(server.url, { agent }))).to.include({ code: 'ERR_SSE_CONNECT', sent: true })
    expect(server.requests).to.have.length(3)
    expect(agent.connections).to.equal(2)
  })

  it('repeats the request only once even if the agent returns used connections as new ones', async () => {
    await using server = await serve(answers(200))
    using other = new CountingAgent()
    await fillPool(server.url, other, 3)
    const dead = Object.values(other.freeSockets).flat()
    closeAll(server)
    using agent = new CountingAgent()
    agent.createConnection = () => dead.pop()
    expect(await failureOf(dial(server.url, { agent }))).to.include({ sent: false })
    expect(dead).to.have.length(1)
  })

  it('reports that the request was not sent when no server listens for the second attempt', async () => {
    const server = await serve(answers(200))
    using agent = new CountingAgent()
    await fillPool(server.url, agent)
    const closed = server.close()
    expect(await failureOf(dial(server.url, { agent }))).to.include({
      code: 'ERR_SSE_CONNECT',
      sent: false,
    })
    await closed
  })

  for (const [method, body] of [
    ['GET', undefined],
    ['head', undefined],
    ['OPTIONS', undefined],
    ['DELETE', undefined],
    ['PUT', 'bytes'],
    ['PUT', Buffer.from('bytes')],
  ] as const) {
    it(`repeats a ${method} with ${body === undefined ? 'no body' : body.constructor.name}`, async () => {
      await using server = await serve(echo)
      using agent = new CountingAgent()
      await fillPool(server.url, agent)
      closeAll(server)
      const text = await read(dial(server.url, { agent, method, body }))
      if (body !== undefined) expect(text).to.equal('PUT bytes')
      expect(server.requests.at(-1)?.method).to.equal(method.toUpperCase())
      expect(agent.connections).to.equal(2)
    })
  }

  for (const [method, body, sent] of [
    ['POST', undefined, true],
    ['POST', 'bytes', true],
    ['PATCH', 'bytes', true],
    ['MERGE', undefined, true],
    ['PUT', (request: http.ClientRequest) => request.end('stream'), false],
  ] as const) {
    const what =
      typeof body === 'function' ? 'a body that its caller writes' : body === undefined ? 'no body' : 'a body'
    it(`sends a ${method} with ${what} only once`, async () => {
      await using server = await serve((req, res) => {
        if (server.requests.length === 1) res.end()
        else req.resume().on('end', () => req.socket.resetAndDestroy())
      })
      using agent = new CountingAgent()
      await fillPool(server.url, agent)
      const error = await failureOf(dial(server.url, { agent, method, body }))
      expect(error).to.include({ code: 'ERR_SSE_CONNECT', sent })
      expect(server.requests).to.have.length(2)
      expect(agent.connections).to.equal(1)
    })
  }

  for (const [what, bytes] of [
    ['half a head', 'HTTP/1.1 200 O'],
    ['an interim response', 'HTTP/1.1 103 Early Hints\r\n\r\n'],
  ] as const) {
    it(`does not repeat a GET after ${what}`, async () => {
      await using server = await serve((req, res) => {
        if (server.requests.length === 1) res.end()
        else req.socket.write(bytes, () => setImmediate(() => req.socket.destroy()))
      })
      using agent = new CountingAgent()
      await fillPool(server.url, agent)
      expect(await failureOf(dial(server.url, { agent }))).to.include({ sent: true })
      expect(server.requests).to.have.length(2)
    })
  }

  it('repeats a request over TLS with the options of the agent', async () => {
    await using server = await serveTls(echo)
    const agent = new https.Agent({ keepAlive: true, ca: certificate.cert })
    await fillPool(server.url, agent)
    closeAll(server)
    expect(await read(dial(server.url, { agent }))).to.equal('GET ')
    agent.destroy()
  })

  it('does not queue the second attempt behind a request that has taken the only place in the pool', async () => {
    await using server = await serve((req, res) =>
      server.requests.length === 1 ? res.end() : stays()(req, res),
    )
    using agent = new CountingAgent({ maxSockets: 1 })
    await fillPool(server.url, agent)
    closeAll(server)
    // The second request waits in the queue for the connection of the first, and takes its place when that connection closes.
    const streams = await Promise.all([dial(server.url, { agent }), dial(server.url, { agent })])
    for (const stream of streams) stream.on('error', () => {}).destroy()
    expect(server.requests).to.have.length(3)
  })

  it('recognizes a used connection that a request got after a wait in the queue', async () => {
    await using server = await serve((req, res) => {
      if (server.requests.length === 2) req.socket.resetAndDestroy()
      else res.end('fine')
    })
    using agent = new CountingAgent({ maxSockets: 1 })
    const both = [dial(server.url, { agent }), dial(server.url, { agent })].map(read)
    expect(await Promise.all(both)).to.deep.equal(['fine', 'fine'])
    expect(server.requests).to.have.length(3)
  })

  it('lets an agent with its own createSocket open the connection', async () => {
    await using server = await serve(answers(200))
    using agent = new CreateSocketAgent()
    await fillPool(server.url, agent, 3)
    closeAll(server)
    expect(await read(dial(server.url, { agent }))).to.equal('no')
    expect(agent.connections).to.equal(4)
  })

  it("uses Node's global agent when the call has no agent", async () => {
    await using server = await serve(answers(200))
    await fillPool(server.url, http.globalAgent, 3)
    closeAll(server)
    expect(await read(dial(server.url))).to.equal('no')
  })
})
