import { expect } from 'chai'
import { get } from '../support/client.ts'
import { serveHub } from '../support/hub.ts'
import { serve, stream } from '../support/server.ts'

describe('upstreamFields of a shared stream', () => {
  it("gives each client the upstream's fields, except those about one body, one connection or one client", async () => {
    await using upstream = await serve((_, response) => {
      response.setHeader('access-control-allow-origin', '*')
      response.setHeader('set-cookie', 'a=1')
      response.setHeader('age', '7')
      response.setHeader('connection', 'x-hop')
      response.setHeader('x-hop', '1')
      stream(response)
    })
    for (const upstreamFields of [undefined, false, true]) {
      await using feed = await serveHub(upstream.url, { upstreamFields })
      for (const _ of ['the first client', 'a later one']) {
        using client = await get(feed.url)
        const { headers } = client
        expect(headers).to.include({
          'content-type': 'text/event-stream',
          'cache-control': 'no-cache, no-transform',
        })
        expect(headers['access-control-allow-origin']).to.equal(upstreamFields ? '*' : undefined)
        expect(headers).not.to.have.any.keys('set-cookie', 'age', 'x-hop')
      }
    }
  })
})
