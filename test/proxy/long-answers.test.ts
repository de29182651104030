import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http, { type IncomingMessage, type RequestListener } from 'node:http'
import http2 from 'node:http2'
import { buffer } from 'node:stream/consumers'
import { expect } from 'chai'
import { createSseProxy } from '../../src/index.ts'
import { ask, proxyTo, reports } from '../support/proxy.ts'
import { serve } from '../support/server.ts'
import { until } from '../support/until.ts'

/** The proxy's own agent, whose connections bypass node:http. */
const own = { agent: undefined }

/** Answers `/N` with body N. */
function answersWith(bodies: readonly Buffer[]): RequestListener {
  return ({ url = '/' }, res) => {
    const body = bodies[Number(url.slice(1))] ?? Buffer.alloc(0)
    res
      .writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': body.length })
      .end(body)
  }
}

async function responseOf(url: string, agent: http.Agent | false): Promise<IncomingMessage> {
  const [response]: IncomingMessage[] = await once(http.get(url, { agent }), 'response')
  if (!response) throw new Error('no response')
  return response
}

describe('long answers through a proxy', () => {
  it('are whole, of any size, over kept-alive connections', async () => {
    const sizes = [9999, 10_000, 10_001, 65_000, 65_535, 65_536, 65_537, 131_072, 131_073, 200_000, 1_000_000]
    const bodies = sizes.map((size) => randomBytes(size))
    await using upstream = await serve(answersWith(bodies))
    await using proxy = await proxyTo(upstream, own)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 4 })
    const turns = [...sizes.keys(), ...sizes.keys(), ...sizes.keys()]
    await Promise.all(
      turns.map(async (n) => {
        const body = await buffer(await responseOf(`${proxy.url}/${n}`, agent))
        expect(body.equals(bodies[n] ?? Buffer.alloc(0)), `${sizes[n]} bytes`).to.equal(true)
      }),
    )
    agent.destroy()
  })

  it('are whole for slow clients beside fast ones', async () => {
    const bodies = Array.from({ length: 6 }, () => randomBytes(12_000_000))
    await using upstream = await serve(answersWith(bodies))
    await using proxy = await proxyTo(upstream, own)
    const slow = await Promise.all(bodies.map((_, n) => responseOf(`${proxy.url}/${n}`, false)))
    await until(
      () => [...proxy.server.sockets].filter((socket) => socket.writableLength > 0).length === slow.length,
      () => 'all clients are behind',
    )
    for (const n of [0, 1, 2]) {
      const body = await buffer(await responseOf(`${proxy.url}/${n}`, false))
      expect(body.equals(bodies[n] ?? body.subarray(1))).to.equal(true)
    }
    const read = await Promise.all(slow.map((response) => buffer(response)))
    for (const [n, body] of read.entries()) expect(body.equals(bodies[n] ?? body.subarray(1))).to.equal(true)
  })

  it('go through a `write` that middleware has replaced', async () => {
    const body = randomBytes(300_000)
    await using upstream = await serve(answersWith([body]))
    const proxied = createSseProxy({ upstream: `http://127.0.0.1:${upstream.port}` })
    let written = 0
    await using gateway = await serve((req, res) => {
      const { write } = res
      res.write = (chunk: Uint8Array, ...rest: unknown[]) => {
        written += chunk.length
        return Reflect.apply(write, res, [chunk, ...rest])
      }
      proxied(req, res)
    })
    const read = await buffer(await responseOf(`http://127.0.0.1:${gateway.port}/0`, false))
    expect(read.equals(body)).to.equal(true)
    expect(written).to.equal(body.length)
  })

  it('are whole over HTTP/2', async () => {
    const body = randomBytes(2_000_000)
    await using upstream = await serve(answersWith([body]))
    const server = http2.createServer(createSseProxy({ upstream: `http://127.0.0.1:${upstream.port}` }))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const session = http2.connect(`http://127.0.0.1:${port}`)
    const read = await buffer(session.request({ ':path': '/0' }))
    expect(read.equals(body)).to.equal(true)
    session.close()
    server.close()
    await once(server, 'close')
  })

  it('are cut where the upstream has cut them', async () => {
    const body = randomBytes(100_000)
    await using upstream = await serve((req, res) => {
      res.writeHead(200, { 'content-length': 200_000 })
      res.write(body, () => setImmediate(() => req.socket.resetAndDestroy()))
    })
    await using proxy = await proxyTo(upstream, own)
    const client = await ask(proxy.url)
    expect(await client.over).to.equal('aborted')
    await reports(proxy, 'ERR_SSE_DROPPED')
    expect(proxy.errors).to.have.length(1)
  })

  it('stop at the upstream when the client disconnects', async () => {
    await using upstream = await serve((_, res) => {
      res.writeHead(200, { 'content-length': 1e9 })
      const fill = () => {
        while (!res.destroyed && res.write(Buffer.alloc(65_536)));
      }
      res.on('drain', fill)
      fill()
    })
    await using proxy = await proxyTo(upstream, own)
    const response = await responseOf(proxy.url, false)
    response.on('error', () => {}).destroy()
    await until(
      () => upstream.sockets.size === 0,
      () => 'the upstream is connected',
    )
    expect(proxy.errors).to.deep.equal([])
  })

  it('make an upstream wait for a client that does not read', async () => {
    let made = 0
    await using upstream = await serve((_, res) => {
      res.writeHead(200, { 'content-length': 1e9 })
      const fill = () => {
        for (let room = true; room && !res.destroyed; made += 65_536) room = res.write(Buffer.alloc(65_536))
      }
      res.on('drain', fill)
      fill()
    })
    await using proxy = await proxyTo(upstream, own)
    const response = await responseOf(proxy.url, false)
    let [before, turns] = [0, 0]
    await until(
      () => {
        turns = made === before ? turns + 1 : 0
        before = made
        return turns > 2000
      },
      () => 'the upstream goes on',
    )
    expect(made).to.be.below(100_000_000)
    response.on('error', () => {}).destroy()
  })
})
