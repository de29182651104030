import { expect } from 'chai'
import { createResilientSseSource, httpUpstream } from '../../src/index.ts'
import { fast, next, wire } from '../support/events.ts'
import { leastGrowth } from '../support/memory.ts'
import { ends, resets, serve, stays } from '../support/server.ts'

describe('memory of a source over node:http', () => {
  for (const [name, script] of Object.entries({ 'clean ends': ends, resets, silences: stays })) {
    it(`does not grow with the number of ${name}`, async () => {
      let id = 0
      await using server = await serve((request, response) => {
        server.requests.length = 0
        script(wire(++id))(request, response)
      })
      const source = createResilientSseSource(httpUpstream(server.url), { reconnect: fast, idleTimeout: 5 })
      source.resume()
      const growth = await leastGrowth(4, async () => {
        for (let n = 0; n < 75; n++) await next(source, 'drop')
      })
      source.destroy()
      // An attempt that is kept, with its request and its response, is 10 KB.
      expect(growth).to.be.below(75 * 2048)
    })
  }
})
