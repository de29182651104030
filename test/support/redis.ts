import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import net from 'node:net'
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

/** Between two questions to a server that starts, in milliseconds: to ask all the time slows the server. */
const pause = 5

const programs = ['redis-server', 'valkey-server']

/** The program that serves, found on the PATH; as root on Debian it is installed. */
function findProgram(): string {
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

/** @param args - Further settings, such as `--maxmemory`, `1mb`. */
export async function startRedis(...args: string[]): Promise<RedisServer> {
  program ??= findProgram()
  const name = program
  const port = await freePort()
  let server: ChildProcess
  const start = async () => {
    const files = ['--save', '', '--appendonly', 'no', '--dir', '/tmp', '--bind', '127.0.0.1']
    server = spawn(name, ['--port', String(port), ...files, ...args], { stdio: 'ignore' })
    await answers(port)
  }
  const kill = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return
    const exited = once(server, 'exit')
    server.kill('SIGKILL')
    await exited
  }
  await start()
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    suspend: () => void server.kill('SIGSTOP'),
    wake: () => void server.kill('SIGCONT'),
    kill,
    restart: start,
    [Symbol.asyncDispose]: kill,
  }
}

/** Waits until a server answers: also one that asks for a password. A server that still loads its data refuses every command but a few. */
async function answers(port: number): Promise<void> {
  while (!/^(\+PONG|-NOAUTH)/.test(await answerToPing(port))) await sleep(pause)
}

/** @returns `''` from a server that does not listen. */
function answerToPing(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    const settle = (answer: string) => {
      socket.destroy()
      socket.once('close', () => resolve(answer))
    }
    socket.once('connect', () => socket.write('PING\r\n'))
    socket.once('data', (bytes) => settle(bytes.toString()))
    socket.once('error', () => settle(''))
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
