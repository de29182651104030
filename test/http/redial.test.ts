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

/** As those of the package agent-base: makes no connection when its `createConnection` is called by somebody else. */
class SecretiveAgent extends CountingAgent {
  #asked = false

  createSocket(...args: unknown[]): void {
    setImmediate(() => {
      this.#asked = true
      // @ts-expect-error A method of node's that its types do not have.
      super.createSocket(...args)
      this.#asked = false
    })
  }

  override createConnection(...args: Parameters<http.Agent['createConnection']>) {
    if (!this.#asked) throw new Error('no connection was made')
    return super.createConnection(...args)
  }
}

/** Closes all of a server's connections; this process hears of it only after it has done what it is about to do. */
function closeAll({ sockets }: Pick<TestServer, 'sockets'>): void {
  for (const socket of sockets) socket.resetAndDestroy()
}

describe('dialHttp on a kept-alive connection that was closed', () => {
  for (const connections of [1, 5]) {
    it(`makes one new connection, with ${connections} in the pool`, async () => {
      await using server = await serve(answers(200))
      using agent = new CountingAgent()
      await fillPool(server.url, agent, connections)
      closeAll(server)
      expect(await read(dial(server.url, { agent }))).to.equal('no')
      expect(server.requests).to.have.length(connections + 1)
      expect(agent.connections).to.equal(connections + 1)
    })
  }

  it('takes none of the connections that live in the pool, which the new one joins', async () => {
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

  it('makes a connection that ends with its agent', async () => {
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
    it(`${times === 1 ? 'does not repeat' : 'repeats'} after ${code}`, async () => {
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
      const cause = Object.assign(new Error('gone'), { code })
      for (const socket of Object.values(agent.sockets).flat()) socket?.destroy(cause)
      if (times === 1) expect(await outcome).to.include({ sent: true, cause })
      else expect(await read(response)).to.equal('fine')
      expect(agent.connections).to.equal(times)
    })
  }

  it('hears of a clean close as of a reset', async () => {
    await using server = await serve(answers(200))
    using agent = new CountingAgent()
    await fillPool(server.url, agent)
    for (const socket of server.sockets) socket.destroy()
    expect(await read(dial(server.url, { agent }))).to.equal('no')
    expect(agent.connections).to.equal(2)
  })

  it('repeats once only', async () => {
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

  it('repeats once only also where an agent hands out used connections for new ones', async () => {
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

  it('says that it was not sent when nobody listens any more', async () => {
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
    const what = typeof body === 'function' ? 'a body that its caller writes' : `body ${body}`
    it(`sends a ${method} with ${what} once`, async () => {
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
    it(`does not repeat a GET that has got ${what}`, async () => {
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

  it('repeats over TLS with the options of the agent', async () => {
    await using server = await serveTls(echo)
    const agent = new https.Agent({ keepAlive: true, ca: certificate.cert })
    await fillPool(server.url, agent)
    closeAll(server)
    expect(await read(dial(server.url, { agent }))).to.equal('GET ')
    agent.destroy()
  })

  it('does not wait for its turn behind what has taken the only place in the pool meanwhile', async () => {
    await using server = await serve((req, res) =>
      server.requests.length === 1 ? res.end() : stays()(req, res),
    )
    using agent = new CountingAgent({ maxSockets: 1 })
    await fillPool(server.url, agent)
    closeAll(server)
    // The second stream waits for the first one's connection, and gets the place that this leaves.
    const streams = await Promise.all([dial(server.url, { agent }), dial(server.url, { agent })])
    for (const stream of streams) stream.on('error', () => {}).destroy()
    expect(server.requests).to.have.length(3)
  })

  it('knows one that it was given after a wait', async () => {
    await using server = await serve((req, res) => {
      if (server.requests.length === 2) req.socket.resetAndDestroy()
      else res.end('fine')
    })
    using agent = new CountingAgent({ maxSockets: 1 })
    const both = [dial(server.url, { agent }), dial(server.url, { agent })].map(read)
    expect(await Promise.all(both)).to.deep.equal(['fine', 'fine'])
    expect(server.requests).to.have.length(3)
  })

  it('has an agent that makes its connections in a way of its own make one', async () => {
    await using server = await serve(answers(200))
    using agent = new SecretiveAgent()
    await fillPool(server.url, agent, 3)
    closeAll(server)
    expect(await read(dial(server.url, { agent }))).to.equal('no')
    expect(agent.connections).to.equal(4)
  })

  it("does so with node's own agent where none is given", async () => {
    await using server = await serve(answers(200))
    await fillPool(server.url, http.globalAgent, 3)
    closeAll(server)
    expect(await read(dial(server.url))).to.equal('no')
  })
})
