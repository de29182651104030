import { expect } from 'chai'
import { createResilientSseSource, httpUpstream } from '../../src/index.ts'
import { fast, next, wire } from '../support/events.ts'
import { usedMemory } from '../support/memory.ts'
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
      const drops = async (count: number) => {
        for (let n = 0; n < count; n++) await next(source, 'drop')
        return usedMemory()
      }
      const early = await drops(50)
      const late = await drops(250)
      source.destroy()
      // An attempt that is kept, with its request and its response, is 10 KB.
      expect(late - early).to.be.below(250 * 2048)
    })
  }
})
