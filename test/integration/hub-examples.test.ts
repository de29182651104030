import { startExample } from '../support/example.ts'
import { testsOfHubExample } from '../support/hub-example.ts'

for (const file of ['raw-http.ts', 'express.ts', 'koa.ts', 'fastify.ts', 'hono.ts']) {
  describe(`examples/hubs/${file}`, () => {
    testsOfHubExample(({ UPSTREAM, MODEL }) => startExample(`hubs/${file}`, UPSTREAM, { MODEL }))
  })
}
