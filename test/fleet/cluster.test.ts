import { expect } from 'chai'
import { createClient } from 'redis'
import { redisStore } from '../../src/redis.ts'
import { has } from '../support/client.ts'
import { numbered } from '../support/feed.ts'
import { dataIn } from '../support/hub.ts'
import type { RedisServer } from '../support/redis.ts'
import { clusterClients, type RedisCluster, startCluster } from '../support/redis-cluster.ts'
import { startMachine, twoMachines } from './machines.ts'

/** A server of a cluster, and a client of this server alone. */
async function nodeOf({ port }: RedisServer) {
  const client = createClient({ socket: { host: '127.0.0.1', port } })
  await client.connect()
  const send = async (...args: string[]) => client.sendCommand(args)
  return { port, send, id: String(await send('CLUSTER', 'MYID')), close: () => client.destroy() }
}

describe('a fleet on a cluster of three servers', () => {
  let cluster: RedisCluster
  before(async () => {
    cluster = await startCluster(3)
  })
  after(() => cluster[Symbol.asyncDispose]())

  for (const [name, connect] of Object.entries(clusterClients)) {
    it(`misses no event while the slot of its stream moves, through the package ${name}`, async () => {
      await using fleet = await twoMachines((upstream) =>
        startMachine(upstream, name, redisStore(connect(cluster.port))),
      )
      const { upstream, owned, followed } = fleet
      let latest = 1
      const publish = () => {
        latest++
        upstream.publish()
      }
      const step = async () => {
        publish()
        await has(owned, `event ${latest}`)
        await has(followed, `event ${latest}`)
      }
      await step()

      const nodes = await Promise.all(cluster.servers.map(nodeOf))
      const keys = [`rs:{${name}}`, `rs:{${name}}:lease`]
      const slot = String(await nodes[0]?.send('CLUSTER', 'KEYSLOT', `rs:{${name}}`))
      const counts = await Promise.all(nodes.map(({ send }) => send('CLUSTER', 'COUNTKEYSINSLOT', slot)))
      const source = nodes[counts.findIndex((count) => Number(count) > 0)]
      const target = nodes.find((node) => node !== source)
      if (!source || !target) throw new Error('no server has the stream')
      await target.send('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source.id)
      await source.send('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id)
      await step()
      publish()
      for (const key of keys) {
        await source.send('MIGRATE', '127.0.0.1', String(target.port), key, '0', '5000')
        publish()
      }
      for (const node of [target, source, ...nodes]) {
        await node.send('CLUSTER', 'SETSLOT', slot, 'NODE', target.id)
      }
      await step()
      const wake = `rs:{${name}}:wake`
      const listeners = async () => String(await target.send('PUBSUB', 'SHARDNUMSUB', wake, `${wake}:owner`))
      // Both machines listen at the new place.
      while ((await listeners()) !== `${wake},1,${wake}:owner,1`);
      await step()
      for (const node of nodes) node.close()
      const expected = numbered(1, latest)
      expect(dataIn(owned)).to.deep.equal(expected)
      expect(dataIn(followed)).to.deep.equal(expected)
      expect(upstream.server.requests).to.have.length(1)
    })
  }
})
