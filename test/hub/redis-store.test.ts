import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { storeTests } from '../../src/store-tests.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { clusterClients, type RedisCluster, startCluster } from '../support/redis-cluster.ts'

/** The clients of both packages for a server. Neither is connected: the store opens connections of its own. */
const clients: Readonly<Record<string, (url: string) => RedisClient>> = {
  redis: (url) => createClient({ url }),
  ioredis: (url) => new Redis(url, { lazyConnect: true }),
}

/** The tests of a store through both packages. */
function testStores(urlOf: () => string): void {
  for (const [name, connect] of Object.entries(clients)) {
    describe(`through the package ${name}`, () => {
      const tests = storeTests(async () => {
        const store = redisStore(connect(urlOf()))
        return { store, close: async () => store.close?.() }
      })
      for (const { title, run } of tests) it(title, run)
    })
  }
}

describe('the store in Redis', () => {
  let server: RedisServer
  before(async () => {
    server = await startRedis()
  })
  after(() => server[Symbol.asyncDispose]())

  testStores(() => server.url)
})

// A server that is not stopped by a test: that of a provider, say.
const { REDIS_URL: givenUrl } = process.env
if (givenUrl) describe('the store in the Redis of REDIS_URL', () => testStores(() => givenUrl))

for (const size of [1, 3])
  describe(`the store in a cluster of ${size} servers`, () => {
    let cluster: RedisCluster
    before(async () => {
      cluster = await startCluster(size)
    })
    after(() => cluster[Symbol.asyncDispose]())

    for (const [name, connect] of Object.entries(clusterClients)) {
      describe(`through the package ${name}`, () => {
        const tests = storeTests(async () => {
          const store = redisStore(connect(cluster.port))
          return { store, close: async () => store.close?.() }
        })
        for (const { title, run } of tests) it(title, run)
      })
    }
  })
