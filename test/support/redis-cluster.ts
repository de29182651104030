import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import { createClient, createCluster } from 'redis'
import type { RedisClient } from '../../src/redis.ts'
import { folder, type RedisServer, startRedis } from './redis.ts'

/** Servers that are one cluster. */
export interface RedisCluster extends AsyncDisposable {
  readonly servers: readonly RedisServer[]
  /** The port of the first server, from which a client learns the others. */
  readonly port: number
}

let files = 0

/** Starts servers, and makes them one cluster. */
export async function startCluster(size: number): Promise<RedisCluster> {
  const names = Array.from({ length: size }, () => `cluster-${process.pid}-${files++}.conf`)
  // A server that has met no other does not know its address, and ioredis ignores servers without one.
  const settings = ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--cluster-config-file']
  const servers: RedisServer[] = []
  for (const name of names) servers.push(await startRedis(...settings, name))
  await formCluster(servers)
  return {
    servers,
    port: servers[0]?.port ?? 0,
    async [Symbol.asyncDispose]() {
      for (const server of servers) await server[Symbol.asyncDispose]()
      for (const name of names) await rm(`${folder}/${name}`, { force: true })
    },
  }
}

/** The cluster clients of both packages. */
export const clusterClients: Readonly<Record<string, (port: number) => RedisClient>> = {
  redis: (port) => createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] }),
  ioredis: (port) =>
    new Cluster([{ host: '127.0.0.1', port }], { lazyConnect: true, shardedSubscribers: true }),
}

/** Gives each server an equal part of the slots, and waits until each of them knows the whole cluster. */
export async function formCluster(servers: readonly RedisServer[]): Promise<void> {
  const clients = servers.map(({ port }) => createClient({ socket: { host: '127.0.0.1', port } }))
  await Promise.all(clients.map((client) => client.connect()))
  const [first] = clients
  const size = 16_384 / servers.length
  for (const [n, client] of clients.entries()) {
    const [from, to] = [Math.ceil(n * size), Math.ceil((n + 1) * size) - 1]
    await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', String(from), String(to)])
    await client.sendCommand(['CLUSTER', 'SET-CONFIG-EPOCH', String(n + 1)])
    const { 'cluster-port': busPort = '' } = await client.configGet('cluster-port')
    if (client !== first)
      await first?.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', String(servers[n]?.port), busPort])
  }
  for (const client of clients) {
    const isWhole = async () => {
      const info = String(await client.sendCommand(['CLUSTER', 'INFO']))
      return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${servers.length}`)
    }
    while (!(await isWhole())) await sleep(50)
    client.destroy()
  }
}
