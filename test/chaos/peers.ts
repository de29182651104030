import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { HostileUpstream } from './upstream.ts'
import { openAt, type Way } from './ways.ts'

/** Relays with other packages, from the benchmarks. */
export const peerNames = [
  'pipeline',
  'http-proxy',
  'eventsource',
  'eventsource-client',
  'launchdarkly-eventsource',
] as const

export type PeerName = (typeof peerNames)[number]

const benchmarks = new URL('../../benchmarks/', import.meta.url)

/** @throws `Error` when the peers' packages are not installed. */
export async function peerWay(name: PeerName, { url }: HostileUpstream): Promise<Way> {
  if (!existsSync(new URL('node_modules/', benchmarks))) {
    throw new Error('the peers are not installed: npm run build && npm --prefix benchmarks install')
  }
  const faults: string[] = []
  const start = () => startRelay(name, url, faults)
  let relay = await start()
  return {
    async open(stream, lastEventId) {
      // Restarts a crashed relay, as a process manager would.
      if (relay.child.exitCode !== null) relay = await start()
      return openAt(`http://127.0.0.1:${relay.port}/events`)(stream, lastEventId)
    },
    faults,
    async [Symbol.asyncDispose]() {
      const { child } = relay
      if (child.exitCode !== null) return
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    },
  }
}

interface RelayProcess {
  readonly child: ChildProcess
  readonly port: number
}

async function startRelay(name: PeerName, url: string, faults: string[]): Promise<RelayProcess> {
  const child = fork(fileURLToPath(new URL('relay.ts', benchmarks)), [name, url], {
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let errors = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  child.on('exit', (code) => {
    if (code) faults.push(`crashed: ${/^\w*Error.*$/m.exec(errors)?.[0] ?? errors.slice(0, 300)}`)
  })
  const [message]: { port: number }[] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => {
      throw new Error(`the relay did not start: ${errors}`)
    }),
  ])
  if (!message) throw new Error('the relay did not report its port')
  return { child, port: message.port }
}
