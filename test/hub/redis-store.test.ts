import { rm } from 'node:fs/promises'
import { Cluster, Redis } from 'ioredis'
import { createClient, createCluster } from 'redis'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { storeTests } from '../../src/store-tests.ts'
import { formCluster, type RedisServer, startRedis } from '../support/redis.ts'
import { freePort } from '../support/server.ts'

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

const clusterClients: Readonly<Record<string, (port: number) => RedisClient>> = {
  redis: (port) => createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] }),
  ioredis: (port) =>
    new Cluster([{ host: '127.0.0.1', port }], { lazyConnect: true, shardedSubscribers: true }),
}

describe('the store in a cluster of three servers', function () {
  this.timeout(30_000)
  const servers: RedisServer[] = []
  before(async () => {
    for (let n = 0; n < 3; n++) {
      const settings = ['--cluster-enabled', 'yes', '--cluster-config-file', `nodes-${process.pid}-${n}.conf`]
      servers.push(await startRedis(...settings, '--cluster-port', String(await freePort())))
    }
    await formCluster(servers)
  })
  after(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]()
    for (let n = 0; n < 3; n++) await rm(`/tmp/nodes-${process.pid}-${n}.conf`, { force: true })
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
