import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { createClient } from 'redis'
import { redisStore } from '../../src/redis.ts'
import { clusterClients, type RedisCluster, startCluster } from '../support/redis-cluster.ts'

describe('a subscription in a cluster whose slots move', () => {
  let cluster: RedisCluster
  before(async () => {
    cluster = await startCluster(3)
  })
  after(() => cluster[Symbol.asyncDispose]())

  for (const [name, connect] of Object.entries(clusterClients)) {
    it(`is made anew when the other servers learn late of the move, through the package ${name}`, async () => {
      const nodes = await Promise.all(cluster.servers.map(({ url }) => createClient({ url }).connect()))
      const wake = `rs:{${name}}:wake`
      const listeners = async (node: (typeof nodes)[number]) =>
        String(await node.sendCommand(['PUBSUB', 'SHARDNUMSUB', wake]))
      const slot = String(await nodes[0]?.sendCommand(['CLUSTER', 'KEYSLOT', wake]))
      const store = redisStore(connect(cluster.port))
      let wakes = 0
      store.watch(name, () => wakes++)
      const source = await found(nodes, async (node) => (await listeners(node)).endsWith(',1'))
      const target = await found(nodes, async (node) => node !== source)
      const id = String(await target.sendCommand(['CLUSTER', 'MYID']))
      const place = ['CLUSTER', 'SETSLOT', slot, 'NODE', id]
      await source.sendCommand(place)
      while (!(await listeners(source)).endsWith(',0'));
      // The client asks a server that does not know of the move, or subscribes at one.
      await sleep(200)
      for (const node of nodes) await node.sendCommand(place)
      while (!(await listeners(target)).endsWith(',1'));
      await target.sendCommand(['SPUBLISH', wake, '1-1'])
      while (wakes === 0) await sleep(1)
      await store.close?.()
      for (const node of nodes) node.destroy()
      expect(wakes).to.equal(1)
    })
  }
})

/** The first for which a condition holds, which is asked again and again. */
async function found<T>(among: readonly T[], holds: (one: T) => Promise<boolean>): Promise<T> {
  for (;;) for (const one of among) if (await holds(one)) return one
}
