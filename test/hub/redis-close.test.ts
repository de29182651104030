import { rm } from 'node:fs/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { Cluster, Redis } from 'ioredis'
import { createClient, createCluster } from 'redis'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { formCluster, type RedisServer, startRedis } from '../support/redis.ts'

const clients: Readonly<Record<string, (port: number) => RedisClient>> = {
  'a client of the package redis': (port) => createClient({ url: `redis://127.0.0.1:${port}` }),
  'a cluster client of the package redis': (port) =>
    createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] }),
  'a client of the package ioredis': (port) => new Redis(port, { lazyConnect: true }),
  'a cluster client of the package ioredis': (port) =>
    new Cluster([{ host: '127.0.0.1', port }], { lazyConnect: true, shardedSubscribers: true }),
}

// The server is a cluster of one: each kind of client can connect to it.
describe('a store in Redis that is closed', () => {
  let server: RedisServer
  const file = `close-${process.pid}.conf`
  before(async () => {
    const settings = ['--cluster-enabled', 'yes', '--cluster-config-file', file]
    server = await startRedis(...settings)
    await formCluster([server])
  })
  after(async () => {
    await server[Symbol.asyncDispose]()
    await rm(`/tmp/${file}`, { force: true })
  })

  for (const [name, connect] of Object.entries(clients)) {
    // The number of turns decides what is under way: connections, the look-up of the cluster's servers, subscriptions.
    for (const turns of [0, 2, 8, 100]) {
      it(`leaves no connection of ${name}, ${turns} turns after it was opened`, async () => {
        const admin = await createClient({ url: server.url }).connect()
        const rejections: unknown[] = []
        const note = (error: unknown) => rejections.push(error)
        process.on('unhandledRejection', note)
        const store = redisStore(connect(server.port))
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
