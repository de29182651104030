import http from 'node:http'
import net from 'node:net'
import { expect } from 'chai'
import { createSseProxy } from '../../src/index.ts'
import { CountingAgent } from '../support/dialling.ts'
import { wire } from '../support/events.ts'
import { proxyTo, raw } from '../support/proxy.ts'
import { isLeft, isStuck, serve, serveRaw, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: us\r\n\r\n`

describe('a pipelined request that waits for its turn', () => {
  for (const [name, script] of [
    ['an event stream', stays(wire(1))],
    ['no answer', () => {}],
  ] as const) {
    it(`is not sent to the upstream while the request before it gets ${name}`, async () => {
      await using upstream = await serve(script)
      await using proxy = await proxyTo(upstream)
      const client = net.connect(proxy.server.port, '127.0.0.1').on('error', () => {})
      client.resume().write(get('/').repeat(200))
      await until(
        () => proxy.server.requests.length === 200 && upstream.requests.length > 0,
        () => `${proxy.server.requests.length} requests`,
      )
      expect(upstream.requests).to.have.length(1)
      client.destroy()
      await isLeft(upstream)
      expect(upstream.requests, 'after the client has disconnected').to.have.length(1)
      expect(proxy.errors).to.deep.equal([])
    })
  }

  it('is not dialled when its client disconnects while the end of the earlier answer is being sent', async () => {
    let answer: http.ServerResponse | undefined
    await using upstream = await serve((_, res) => {
      answer ??= res
      answer.flushHeaders()
    })
    using agent = new CountingAgent({ keepAlive: false })
    await using proxy = await proxyTo(upstream, { agent })
    const responses: http.ServerResponse[] = []
    proxy.server.server.on('request', (_, res) => responses.push(res))
    // The client reads nothing.
    const client = net.connect(proxy.server.port, '127.0.0.1').on('error', () => {})
    client.write(get('/').repeat(2))
    await until(
      () => responses[0]?.headersSent === true && responses.length === 2,
      () => `${responses.length} requests`,
    )
    const [{ socket } = { socket: null }] = responses
    if (!socket) throw new Error('no connection')
    while (!(await isStuck(socket))) {
      const { bytesWritten } = socket
      answer?.write('x'.repeat(8000))
      await until(
        () => socket.bytesWritten > bytesWritten,
        () => 'the next part',
      )
    }
    answer?.end()
    await until(
      () => responses[0]?.writableEnded === true,
      () => 'the end of the answer',
    )
    client.destroy()
    await isLeft(proxy.server)
    expect(agent.connections).to.equal(1)
    expect(proxy.errors).to.deep.equal([])
  })

  it('is sent to the upstream when the earlier requests are answered, and all answers come in order', async () => {
    let open = 0
    let most = 0
    await using upstream = await serve((req, res) => {
      most = Math.max(most, ++open)
      setImmediate(() => {
        open--
        res.end(req.url)
      })
    })
    await using proxy = await proxyTo(upstream)
    const last = get('/9').replace('host: us', 'host: us\r\nconnection: close')
    const text = await raw(proxy.server.port, `${['/1', '/2', '/3'].map(get).join('')}${last}`)
    expect(text.match(/\/\d(?!\.)/g)).to.deep.equal(['/1', '/2', '/3', '/9'])
    expect(most).to.equal(1)
  })
})

describe('a client that disconnects while its body is unread', () => {
  const big = 'x'.repeat(700_000)
  const post = `POST / HTTP/1.1\r\nhost: us\r\ncontent-length: ${2 * big.length}\r\n\r\n${big}`

  /** Sends half of a body, and disconnects when the proxy's connection to the upstream has reached a state. */
  async function disconnect(port: number, reached: () => boolean) {
    const client = net.connect(port, '127.0.0.1').on('error', () => {})
    await new Promise((resolve) => client.write(post, resolve))
    await until(reached, () => 'the state')
    client.destroy()
  }

  it('is noticed while the proxy connects to the upstream', async () => {
    let lookups = 0
    // The lookup of the name never ends, so the proxy keeps connecting.
    const agent = new http.Agent({
      lookup: () => {
        lookups++
      },
    })
    const errors: Error[] = []
    await using server = await serve(
      createSseProxy({ upstream: 'http://never.test', agent, onError: (error) => errors.push(error) }),
    )
    await disconnect(server.port, () => lookups === 1)
    await isLeft(server)
    expect(errors).to.deep.equal([])
    agent.destroy()
  })

  it('is noticed while the upstream does not read', async () => {
    await using upstream = await serve(() => {})
    await using proxy = await proxyTo(upstream)
    await disconnect(proxy.server.port, () => upstream.requests.length === 1)
    // The upstream, which does not read, cannot notice anything.
    await isLeft(proxy.server)
    expect(proxy.errors).to.deep.equal([])
  })

  for (const [what, head, body] of [
    ['an event stream', 'content-type: text/event-stream\r\n', wire(1)],
    ['an answer', 'content-type: text/plain\r\n', 'early'],
  ] as const) {
    it(`is noticed while ${what} is being sent`, async () => {
      let answered = false
      await using upstream = await serveRaw((socket, n) => {
        if (n > 0) return
        socket.pause()
        answered = socket.write(`HTTP/1.1 200 OK\r\n${head}transfer-encoding: chunked\r\n\r\n`)
        socket.write(`${body.length.toString(16)}\r\n${body}\r\n`)
      })
      await using proxy = await proxyTo(upstream)
      await disconnect(proxy.server.port, () => answered)
      await isLeft(proxy.server)
      expect(proxy.errors).to.deep.equal([])
    })
  }
})
