import { once } from 'node:events'
import http, { type IncomingMessage, type RequestListener } from 'node:http'
import net from 'node:net'
import { expect } from 'chai'
import { type Options, proxyTo, raw } from '../support/proxy.ts'
import { serve, serveRaw } from '../support/server.ts'
import { until } from '../support/until.ts'

/** A proxy whose server has a listener for `checkContinue`, so that Node does not send a 100 itself. */
async function leavingTo(upstream: { port: number }, options?: Options) {
  const proxy = await proxyTo(upstream, options)
  proxy.server.server.on('checkContinue', (req, res) => proxy.server.server.emit('request', req, res))
  return proxy
}

/** A client that sends a head and waits; `text` is the answer so far. */
async function waitingClient(port: number, head: string) {
  const socket = net.connect(port, '127.0.0.1').on('error', () => {})
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += chunk
  })
  socket.write(head)
  return {
    socket,
    got: (part: string) =>
      until(
        () => text.includes(part),
        () => `${part} in ${JSON.stringify(text)}`,
      ),
    get text() {
      return text
    },
  }
}

const expecting = (version = '1.1') =>
  `PUT /file HTTP/${version}\r\nhost: us\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n`

describe('interim responses through the proxy', () => {
  it("include the upstream's 100 for a client that waits for it, and no earlier 100", async () => {
    let say: (() => void) | undefined
    await using upstream = await serve(() => {})
    upstream.server.on('checkContinue', (req: IncomingMessage, res: http.ServerResponse) => {
      say = () => {
        res.writeContinue()
        let body = ''
        req.setEncoding('utf8').on('data', (chunk) => {
          body += chunk
        })
        req.on('end', () => res.end(`got ${body}`))
      }
    })
    await using proxy = await leavingTo(upstream)
    const client = await waitingClient(proxy.server.port, expecting())
    await until(
      () => say !== undefined,
      () => 'the request is at the upstream',
    )
    expect(client.text).to.equal('')
    say?.()
    await client.got('HTTP/1.1 100 Continue\r\n\r\n')
    expect(client.text).to.equal('HTTP/1.1 100 Continue\r\n\r\n')
    client.socket.write('hello')
    await client.got('got hello')
    expect(client.text.match(/HTTP\/1\.1 /g)).to.have.length(2)
    expect(client.text).to.match(/connection: keep-alive/i)
    client.socket.destroy()
  })

  it('do not include a 100 when the upstream refuses, and the body is not read as the next request', async () => {
    await using upstream = await serve(() => {})
    upstream.server.on('checkContinue', (_, res: http.ServerResponse) => res.writeHead(401).end('no'))
    await using proxy = await leavingTo(upstream)
    const client = await waitingClient(proxy.server.port, expecting())
    await client.got('no')
    expect(client.text).to.match(/^HTTP\/1\.1 401 [\s\S]*\r\nconnection: close\r\n/i)
    client.socket.destroy()
  })

  for (const [what, options, status] of [
    ['the host is not listed', { hosts: ['a.test'] }, 421],
    ['the upstream is unavailable', {}, 502],
  ] as const) {
    it(`do not include a 100 when ${what}`, async () => {
      await using upstream = await serve(() => {})
      await upstream.close()
      await using proxy = await leavingTo(upstream, options)
      const client = await waitingClient(proxy.server.port, expecting())
      await client.got(`${status} `)
      expect(client.text).to.match(
        new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*\\r\\nconnection: close\\r\\n`, 'i'),
      )
      client.socket.destroy()
    })
  }

  it("include Node's own 100 when the server has no listener for checkContinue", async () => {
    await using upstream = await serve((req, res) => {
      req.resume().on('end', () => res.end('fine'))
    })
    await using proxy = await proxyTo(upstream)
    const client = await waitingClient(proxy.server.port, expecting())
    await client.got('HTTP/1.1 100 Continue\r\n\r\n')
    client.socket.write('hello')
    await client.got('fine')
    expect(upstream.requests[0]?.headers).not.to.have.property('expect')
    client.socket.destroy()
  })

  it('are not sent to a client of HTTP/1.0, whose expectation is ignored', async () => {
    await using upstream = await serve((req, res) => {
      req.resume().on('end', () => res.end('fine'))
    })
    await using proxy = await leavingTo(upstream)
    const answer = await raw(proxy.server.port, `${expecting('1.0')}hello`)
    expect(answer).to.match(/^HTTP\/1\.1 200 [\s\S]*fine$/)
    expect(upstream.requests[0]?.headers).not.to.have.property('expect')
  })

  it('do not include a 100 that the client did not ask for', async () => {
    await using upstream = await serveRaw((socket) =>
      socket.write(
        'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok',
      ),
    )
    await using proxy = await leavingTo(upstream)
    const answer = await raw(
      proxy.server.port,
      'POST / HTTP/1.1\r\nhost: us\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi',
    )
    expect(answer).to.match(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nok$/)
  })

  it('include early hints, also while the body is being sent', async () => {
    const hint: RequestListener = (req, res) => {
      res.writeEarlyHints({ link: '</a.css>; rel=preload' })
      req.resume().on('end', () => res.end('final'))
    }
    await using upstream = await serve(hint)
    await using proxy = await proxyTo(upstream)
    const request = http.request(proxy.url, { method: 'POST', agent: false })
    request.write('a')
    const [{ statusCode, headers }] = await once(request, 'information')
    expect([statusCode, headers.link]).to.deep.equal([103, '</a.css>; rel=preload'])
    request.end('b')
    const [response]: IncomingMessage[] = await once(request, 'response')
    let text = ''
    for await (const chunk of response ?? []) text += chunk
    expect(text).to.equal('final')
  })
})
