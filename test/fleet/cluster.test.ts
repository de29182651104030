import { rm } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { Cluster } from 'ioredis'
import { createClient } from 'redis'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, eventSource, serveHub } from '../support/hub.ts'
import { formCluster, type RedisServer, startRedis } from '../support/redis.ts'
import { freePort, serve, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

const packages: Readonly<Record<string, (port: number) => RedisClient>> = {
  ioredis: (port) =>
    new Cluster([{ host: '127.0.0.1', port }], { lazyConnect: true, shardedSubscribers: true }),
}

/** A server of a cluster, and a client of this server alone. */
async function nodeOf({ port }: RedisServer) {
  const client = createClient({ socket: { host: '127.0.0.1', port } })
  await client.connect()
  const send = async (...args: string[]) => client.sendCommand(args)
  return { port, send, id: String(await send('CLUSTER', 'MYID')), close: () => client.destroy() }
}

describe('a fleet on a cluster of three servers', function () {
  this.timeout(30_000)
  const servers: RedisServer[] = []
  const fileOf = (n: number) => `fleet-${process.pid}-${n}.conf`
  before(async () => {
    for (let n = 0; n < 3; n++) {
      const settings = ['--cluster-enabled', 'yes', '--cluster-config-file', fileOf(n)]
      servers.push(await startRedis(...settings, '--cluster-port', String(await freePort())))
    }
    await formCluster(servers)
  })
  after(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]()
    for (let n = 0; n < 3; n++) await rm(`/tmp/${fileOf(n)}`, { force: true })
  })

  for (const [name, connect] of Object.entries(packages)) {
    it(`misses no event while the slot of its stream moves, through the package ${name}`, async () => {
      const open = new Set<ServerResponse>()
      await using upstream = await serve((_, response) => {
        open.add(stream(response))
      })
      let latest = 0
      const publish = () => {
        latest++
        for (const response of open) response.write(wire(latest))
      }
      const machine = () =>
        serveHub(upstream.url, {
          hub: { store: redisStore(connect(servers[0]?.port ?? 0)), poll: 100 },
          nameOf: () => name,
          from: 'start',
        })
      await using first = await machine()
      using owned = ask(first.url, eventSource)
      await until(
        () => open.size > 0,
        () => 'the upstream is open',
      )
      publish()
      await has(owned, 'event 1')
      await using second = await machine()
      using followed = ask(second.url, eventSource)
      const step = async () => {
        publish()
        await has(owned, `event ${latest}`)
        await has(followed, `event ${latest}`)
      }
      await step()

      const nodes = await Promise.all(servers.map(nodeOf))
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
      const channel = `rs:{${name}}:wake`
      const listeners = async () => String(await target.send('PUBSUB', 'SHARDNUMSUB', channel))
      // Both machines listen at the new place.
      while ((await listeners()) !== `${channel},2`);
      await step()
      for (const node of nodes) node.close()
      const expected = Array.from({ length: latest }, (_, n) => `event ${n + 1}`)
      expect(dataIn(owned)).to.deep.equal(expected)
      expect(dataIn(followed)).to.deep.equal(expected)
      expect(upstream.requests).to.have.length(1)
    })
  }
})
