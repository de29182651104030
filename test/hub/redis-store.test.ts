import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { storeTests } from '../../src/store-tests.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

/** The clients of both packages for a server. Neither is connected: the store opens connections of its own. */
const clients: Readonly<Record<string, (url: string) => RedisClient>> = {
  redis: (url) => createClient({ url }),
  ioredis: (url) => new Redis(url, { lazyConnect: true }),
}

describe('the store in Redis', () => {
  let server: RedisServer
  before(async () => {
    server = await startRedis()
  })
  after(() => server[Symbol.asyncDispose]())

  for (const [name, connect] of Object.entries(clients)) {
    describe(`through the package ${name}`, () => {
      const tests = storeTests(async () => {
        const store = redisStore(connect(server.url))
        return { store, close: async () => store.close?.() }
      })
      for (const { title, run } of tests) it(title, run)
    })
  }
})
