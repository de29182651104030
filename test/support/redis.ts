import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'redis'
import { freePort } from './server.ts'

/** A server of Redis or Valkey on a free port, without files. */
export interface RedisServer extends AsyncDisposable {
  readonly port: number
  readonly url: string
  /** Suspends the server, as SIGSTOP does. */
  suspend(): void
  wake(): void
  /** Kills the server: its data is lost. */
  kill(): Promise<void>
  /** Starts the server again on its port, with no data. */
  restart(): Promise<void>
}

/** Before a server is started again on a port that was taken, in milliseconds. */
const pause = 50

/** How often a server is started that exits at once. */
const mostStarts = 20

/** What Redis and Valkey log when they accept connections, after they have loaded their data. */
const ready = 'Ready to accept connections'

const programs = ['redis-server', 'valkey-server']

/** The program that serves: that of REDIS_SERVER, or one on the PATH; as root on Debian it is installed. */
function findProgram(): string {
  if (process.env.REDIS_SERVER) return process.env.REDIS_SERVER
  const paths = (process.env.PATH ?? '').split(':')
  const find = () => programs.find((name) => paths.some((path) => existsSync(`${path}/${name}`)))
  const found = find()
  if (found !== undefined) return found
  if (process.getuid?.() === 0 && existsSync('/etc/debian_version')) {
    execFileSync('apt-get', ['install', '--yes', '--no-install-recommends', 'redis-server'], {
      stdio: 'ignore',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
    const installed = find()
    if (installed !== undefined) return installed
  }
  throw new Error(
    'the tests need redis-server or valkey-server on the PATH: apt-get install redis-server, or brew install redis',
  )
}

let program: string | undefined

/** @param args - Further settings, such as `--maxmemory`, `1mb`. A server for a cluster gets a port for it. */
export async function startRedis(...args: string[]): Promise<RedisServer> {
  program ??= findProgram()
  const name = program
  const files = ['--save', '', '--appendonly', 'no', '--dir', '/tmp', '--bind', '127.0.0.1']
  let server: ChildProcess
  /** @returns False from a server that has exited, as it does where its port is taken. */
  const start = async (port: number): Promise<boolean> => {
    const bus = args.includes('--cluster-enabled') ? ['--cluster-port', `${await freePort()}`] : []
    server = spawn(name, ['--port', `${port}`, ...files, ...bus, ...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return isReady(server)
  }
  const kill = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return
    const exited = once(server, 'exit')
    server.kill('SIGKILL')
    await exited
  }
  // Between the choice of a port and the start of the server, another test may take the port.
  let port = await freePort()
  for (let tries = 1; !(await start(port)); tries++) {
    if (tries === mostStarts) throw new Error(`${name} does not start`)
    port = await freePort()
  }
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    suspend: () => void server.kill('SIGSTOP'),
    wake: () => void server.kill('SIGCONT'),
    kill,
    async restart() {
      for (let tries = 1; !(await start(port)); tries++) {
        if (tries === mostStarts) throw new Error(`${name} does not start on port ${port}`)
        await sleep(pause)
      }
    },
    [Symbol.asyncDispose]: kill,
  }
}

/**
 * Resolves when a server says that it is ready: who connects to its port before may reach the server of another test.
 *
 * @returns False from a server that has exited.
 */
function isReady(server: ChildProcess): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let log = ''
    server.once('error', reject).once('exit', () => resolve(false))
    server.stdout?.on('data', (bytes) => {
      // The pipe is read to its end, so that it is never full.
      if (log.includes(ready)) return
      log += bytes
      if (log.includes(ready)) resolve(true)
    })
  })
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
    while (!(await isWhole())) await sleep(pause)
    client.destroy()
  }
}
