import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { clusterClients, type RedisCluster, startCluster } from '../support/redis-cluster.ts'

const packages: Readonly<Record<string, (port: number) => RedisClient>> = {
  redis: (port) => createClient({ url: `redis://127.0.0.1:${port}` }),
  ioredis: (port) => new Redis(port, { lazyConnect: true }),
}
const kinds = { client: packages, 'cluster client': clusterClients }
const clients = Object.entries(kinds).flatMap(([kind, connectors]) =>
  Object.entries(connectors).map(([name, connect]) => ({
    name: `a ${kind} of the package ${name}`,
    connect,
  })),
)

// The server is a cluster of one: each kind of client can connect to it.
describe('a store in Redis that is closed', () => {
  let cluster: RedisCluster
  before(async () => {
    cluster = await startCluster(1)
  })
  after(() => cluster[Symbol.asyncDispose]())

  for (const { name, connect } of clients) {
    // The number of turns decides what is under way: connections, the look-up of the cluster's servers, subscriptions.
    for (const turns of [0, 2, 8, 100]) {
      it(`leaves no connection of ${name}, ${turns} turns after it was opened`, async () => {
        const admin = await createClient({ url: `redis://127.0.0.1:${cluster.port}` }).connect()
        const rejections: unknown[] = []
        const note = (error: unknown) => rejections.push(error)
        process.on('unhandledRejection', note)
        const store = redisStore(connect(cluster.port))
        const times = { lease: 1000, keepFor: 1000 }
        store.watch('log', () => {})
        const opened = store.open('log', 'owner', times).catch(() => {})
        for (let turn = 0; turn < turns; turn++) await nextTurn()
        await store.close?.()
        while ((await admin.clientList()).length > 1);
        await nextTurn()
        process.off('unhandledRejection', note)
        admin.destroy()
        expect(rejections).to.deep.equal([])
        // A call whose connection was closed may never settle.
        void opened
      })
    }
  }
})
