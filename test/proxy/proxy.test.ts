import { once } from 'node:events'
import https from 'node:https'
import { expect } from 'chai'
import { createSseProxy } from '../../src/index.ts'
import { certificate } from '../support/certificate.ts'
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
