import http from 'node:http'
import { createSseProxy } from '../../src/index.ts'
import { testBursts } from '../support/burst-tests.ts'
import { fast } from '../support/events.ts'
import { serve } from '../support/server.ts'

describe('every byte of a burst through createSseProxy', () => {
  testBursts({
    open: async ({ url }) => {
      const agent = new http.Agent({ keepAlive: true })
      const relay = { reconnect: { ...fast, maxRetries: 100 } }
      const server = await serve(createSseProxy({ upstream: url, agent, relay }))
      return {
        server,
        async [Symbol.asyncDispose]() {
          await server.close()
          agent.destroy()
        },
      }
    },
  })
})
