import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { createClient } from 'redis'
import { certificate } from '../support/certificate.ts'
import { answerOf, ask, got, patience, quick, start } from '../support/command.ts'
import { wire } from '../support/events.ts'
import { publisher } from '../support/publisher.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { formCluster } from '../support/redis-cluster.ts'
import { freePort, serve, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

const accept = { accept: 'text/event-stream', host: 'feed.test' }
const watch = (url: string) => ask(url, 'GET', accept)
const sharing = ['--share', 'true', '--from', 'start', '--log-level', 'debug', ...quick]

describe('the command with --redis for a cluster', function () {
  this.timeout(3 * patience)
  let folder: string
  let files = 0
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cluster-'))
  })
  after(() => rm(folder, { recursive: true }))

  /** Starts a server that may be part of a cluster. */
  const startNode = async (...settings: string[]): Promise<RedisServer> => {
    const nodes = join(folder, `nodes-${files++}.conf`)
    const cluster = ['--cluster-enabled', 'yes', '--cluster-config-file', nodes]
    return startRedis(...cluster, ...settings)
  }

  const command = async ({ port }: RedisServer, ...args: string[]): Promise<unknown> => {
    const client = await createClient({ socket: { host: '127.0.0.1', port } }).connect()
    const reply = await client.sendCommand(args)
    client.destroy()
    return reply
  }

  it('keeps streams on every server, for commands that have its URLs from a variable and from a file, and logs no password', async () => {
    await using one = await startNode()
    await using two = await startNode()
    const servers = [one, two]
    await formCluster(servers)
    const keysOf = async (server: RedisServer) => Number(await command(server, 'DBSIZE'))
    const urls = servers.map(({ port }) => `redis://hub:tiger%40cat@127.0.0.1:${port}`).join()
    for (const server of servers) {
      await command(server, 'ACL', 'SETUSER', 'hub', 'on', '>tiger@cat', '~*', '&*', '+@all')
    }
    await using feed = await publisher(wire)
    const args = ['--upstream', feed.server.url, ...sharing]
    const env = { RESILIENT_SSE_REDIS: urls, DEBUG: '*' }
    await using owner = await start(args, [], env)
    const config = join(folder, 'config.json')
    await writeFile(config, JSON.stringify({ defaults: { redis: urls } }))
    await using other = await start(['--config', config, ...args], [], { DEBUG: '*' })
    for (const { port } of servers)
      await owner.line(new RegExp(`redis connected.* redis=redis://127.0.0.1:${port}`))
    let streams = 0
    // A stream is on the server that has its slot: a client of one server would be refused the others.
    for (const server of servers) {
      while ((await keysOf(server)) === 0) {
        using client = watch(`${owner.url}/${streams++}`)
        await until(
          () => feed.server.requests.length === streams,
          () => `stream ${streams} has its upstream: ${owner.log}`,
          patience,
        )
        using follower = watch(`${other.url}/${streams - 1}`)
        feed.publish()
        await got(client, `event ${streams}`)
        await got(follower, `event ${streams}`)
      }
    }
    expect(feed.server.requests).to.have.length(streams)
    const metrics = await answerOf(`${owner.adminUrl}/metrics`)
    expect(owner.log + other.log + metrics.text).not.to.match(/tiger|level=(warn|error)/)
  })

  it('connects with TLS, also to a cluster that has one address, which is given twice', async () => {
    const cert = join(folder, 'cert')
    const key = join(folder, 'key')
    await writeFile(cert, certificate.cert)
    await writeFile(key, certificate.key)
    const tlsPort = String(await freePort())
    const tls = ['--tls-port', tlsPort, '--tls-cluster', 'yes', '--tls-auth-clients', 'no']
    const certificates = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert]
    const name = ['--cluster-announce-hostname', 'localhost', '--cluster-preferred-endpoint-type', 'hostname']
    await using server = await startNode(...tls, ...certificates, ...name)
    await formCluster([server])
    await command(server, 'CONFIG', 'SET', 'requirepass', 'tiger')
    await using upstream = await serve(stays(wire(1)))
    const url = `rediss://:tiger@localhost:${tlsPort}`
    const args = ['--upstream', upstream.url, '--redis', `${url},${url}`, ...sharing]
    await using gateway = await start(args, [], { NODE_EXTRA_CA_CERTS: cert })
    using client = watch(`${gateway.url}/a`)
    await got(client, 'event 1')
    expect(await gateway.line(/redis connected/)).to.include(`redis=rediss://localhost:${tlsPort}`)
    expect(gateway.log).not.to.match(/tiger|level=(warn|error)/)
  })

  it('serves shared streams once a cluster can be reached that was away at the start', async () => {
    await using server = await startNode()
    await formCluster([server])
    await server.kill()
    await using upstream = await serve(stays(wire(1)))
    const urls = `${server.url},${server.url}`
    const args = ['--upstream', upstream.url, '--redis', urls, '--heartbeat', '100', ...sharing]
    await using gateway = await start(args)
    expect(await gateway.line(/redis cannot be reached/)).to.match(/level=warn .*ECONNREFUSED/)
    using client = watch(`${gateway.url}/a`)
    await server.restart()
    await got(client, 'event 1')
  })

  it('warns of a cluster that is given as one server, and of a server that is given as a cluster', async () => {
    await using node = await startNode()
    await using single = await startRedis()
    await formCluster([node])
    await using upstream = await serve(stays(wire(1)))
    const args = ['--upstream', upstream.url, ...sharing]
    await using first = await start([...args, '--redis', node.url])
    expect(await first.line(/redis is a server of a cluster/)).to.match(/level=warn .*--redis has one URL/)
    await using second = await start([...args, '--redis', `${single.url},${single.url}`])
    expect(await second.line(/redis is not a server of a cluster/)).to.match(/level=warn .*several URLs/)
  })
})
