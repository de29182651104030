import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import { expect } from 'chai'
import { createSseProxy } from '../../src/index.ts'
import { certificate } from '../support/certificate.ts'
import { serveTls } from '../support/dialling.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { proxyTo, raw, rawGet, statusOf } from '../support/proxy.ts'
import { answers, ends, serve } from '../support/server.ts'

describe('createSseProxy', () => {
  it('passes on to an https: upstream, also when its event stream is reopened', async () => {
    let asked = 0
    const upstream = https.createServer(certificate, (request, response) => {
      const script = ++asked === 1 ? ends(wire(1)) : ends(wire(2, 'end'))
      script(request, response)
    })
    await once(upstream.listen(0, '127.0.0.1'), 'listening')
    const address = upstream.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    const agent = new https.Agent({ ca: certificate.cert })
    const relay = { reconnect: fast, isTerminal: lastIs('end') }
    await using server = await serve(
      createSseProxy({ upstream: `https://127.0.0.1:${address.port}/`, agent, relay }),
    )
    expect(await (await fetch(server.url)).text()).to.equal(wire(1) + wire(2, 'end'))
    agent.destroy()
    upstream.closeAllConnections()
    upstream.close()
    await once(upstream, 'close')
  })

  it('makes TLS connections to an https: upstream without the option agent, and checks its certificate', async () => {
    await using upstream = await serveTls(answers(200))
    const errors: Error[] = []
    await using server = await serve(
      createSseProxy({ upstream: upstream.url, onError: (error) => errors.push(error) }),
    )
    expect(statusOf(await raw(server.port, rawGet('/')))).to.equal(502)
    expect(errors[0]?.cause).to.have.property('code', 'DEPTH_ZERO_SELF_SIGNED_CERT')
  })

  it('answers 400 to a request with a field that cannot be sent, which a lenient parser accepts', async () => {
    await using upstream = await serve(answers(200))
    const errors: Error[] = []
    const proxy = createSseProxy({
      upstream: `http://127.0.0.1:${upstream.port}`,
      onError: (error) => errors.push(error),
    })
    const server = http.createServer({ insecureHTTPParser: true }, proxy)
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    expect(statusOf(await raw(address.port, rawGet('/', 'x-a: a\x01b')))).to.equal(400)
    server.close()
    await once(server, 'close')
    expect(upstream.requests).to.deep.equal([])
    expect(errors).to.have.length(1)
    expect(errors[0]).to.have.property('code', 'ERR_INVALID_CHAR')
  })

  for (const [name, bytes] of [
    ['CONNECT', 'CONNECT evil:80 HTTP/1.1\r\nhost: evil:80\r\n\r\n'],
    ['TRACE', rawGet('/').replace('GET', 'TRACE')],
    ['an upgrade', rawGet('/', 'connection: upgrade', 'upgrade: websocket')],
  ] as const) {
    it(`answers 501 to ${name}`, async () => {
      await using upstream = await serve(answers(200))
      await using proxy = await proxyTo(upstream)
      expect(statusOf(await raw(proxy.server.port, bytes))).to.equal(501)
      expect(upstream.requests).to.deep.equal([])
    })
  }

  it('answers 501 to an upgrade on a server without an upgrade listener, and ignores an upgrade to h2c', async () => {
    await using upstream = await serve(answers(200))
    await using proxy = await proxyTo(upstream)
    proxy.server.server.removeAllListeners('upgrade')
    const upgrade = (to: string) =>
      raw(proxy.server.port, rawGet('/', 'connection: upgrade', `upgrade: ${to}`))
    expect(statusOf(await upgrade('websocket'))).to.equal(501)
    expect(statusOf(await upgrade('h2c'))).to.equal(200)
  })
})
