import { createSseHub, httpUpstream } from '../../src/index.ts'
import { testBursts } from '../support/burst-tests.ts'
import { fast } from '../support/events.ts'
import { serve } from '../support/server.ts'

/** The events without their ids, which a hub replaces. */
const withoutIds = (bytes: Buffer) =>
  Buffer.from(bytes.toString('latin1').replace(/^id: .*\n/gm, ''), 'latin1')

describe('every byte of a burst through a hub', () => {
  testBursts({
    clients: 2,
    unchanged: withoutIds,
    open: async ({ url }) => {
      const hub = createSseHub()
      const server = await serve((req, res) => {
        const path = req.url ?? '/'
        void hub.relay(req, res, path, httpUpstream(`${url}${path}`), {
          from: 'start',
          retention: { events: 1_000_000, bytes: 64 * 1024 * 1024 },
          reconnect: { ...fast, maxRetries: 100 },
        })
      })
      return {
        server,
        async [Symbol.asyncDispose]() {
          await hub.close()
          await server.close()
        },
      }
    },
  })
})
