import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
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

/** Where a server keeps its files. */
export const folder = '/tmp'

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
  const files = ['--save', '', '--appendonly', 'no', '--dir', folder, '--bind', '127.0.0.1']
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
