import { rm } from 'node:fs/promises'
import { Cluster, Redis } from 'ioredis'
import { createClient, createCluster } from 'redis'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { storeTests } from '../../src/store-tests.ts'
import { formCluster, type RedisServer, startRedis } from '../support/redis.ts'

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

const clusterClients: Readonly<Record<string, (port: number) => RedisClient>> = {
  redis: (port) => createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] }),
  ioredis: (port) =>
    new Cluster([{ host: '127.0.0.1', port }], { lazyConnect: true, shardedSubscribers: true }),
}

for (const size of [1, 3])
  describe(`the store in a cluster of ${size} servers`, () => {
    const servers: RedisServer[] = []
    const fileOf = (n: number) => `nodes-${process.pid}-${size}-${n}.conf`
    before(async () => {
      for (let n = 0; n < size; n++) {
        // A server that has met no other does not know its address, and ioredis ignores servers without one.
        const announced = ['--cluster-announce-ip', '127.0.0.1']
        const settings = ['--cluster-enabled', 'yes', '--cluster-config-file', fileOf(n), ...announced]
        servers.push(await startRedis(...settings))
      }
      await formCluster(servers)
    })
    after(async () => {
      for (const server of servers) await server[Symbol.asyncDispose]()
      for (let n = 0; n < size; n++) await rm(`/tmp/${fileOf(n)}`, { force: true })
    })

    for (const [name, connect] of Object.entries(clusterClients)) {
      describe(`through the package ${name}`, () => {
        const tests = storeTests(async () => {
          const store = redisStore(connect(servers[0]?.port ?? 0))
          return { store, close: async () => store.close?.() }
        })
        for (const { title, run } of tests) it(title, run)
      })
    }
  })
