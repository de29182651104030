import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startNode } from '../support/child.ts'
import type { HostileUpstream } from './upstream.ts'
import { openAt, reconnect, type StartWay, timeouts, windowBytes } from './ways.ts'

/** The command in a process of its own, as the proxy of several upstreams. */
export interface ProxyProcess extends AsyncDisposable {
  /** The way through the proxy to an upstream. */
  readonly wayTo: StartWay
  /** Stops the process with SIGTERM, and returns its failures: a wrong exit code, and errors that it logged. */
  stop(): Promise<string[]>
}

export async function startProxy(upstreams: readonly HostileUpstream[]): Promise<ProxyProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'resilient-sse-'))
  const file = join(folder, 'proxy.json')
  const pathOf = ({ scenario }: HostileUpstream) => `/${scenario.seed}/`
  const paths = Object.fromEntries(
    upstreams.map((upstream) => [pathOf(upstream), { upstream: upstream.url }]),
  )
  const defaults = { ...reconnect, ...timeouts, windowBytes, maxRetries: 'Infinity', heartbeat: 30 }
  await writeFile(file, JSON.stringify({ defaults, paths }))
  const program = await startNode('src/cli.ts', [
    '--bind',
    '127.0.0.1:0',
    '--log-format',
    'json',
    '--config',
    file,
  ])
  const kill = async () => {
    await program[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  }
  try {
    const port = await listeningPort(program.child.stderr)
    return {
      wayTo: async (upstream) => ({
        open: openAt(`http://127.0.0.1:${port}${pathOf(upstream)}`),
        faults: [],
        async [Symbol.asyncDispose]() {},
      }),
      async stop() {
        program.child.kill('SIGTERM')
        const { code, err } = await program.ended
        const errors = err.split('\n').filter((line) => line.includes('"level":"error"'))
        return code === 0 ? errors : [...errors, `the proxy ended with ${code}: ${err.slice(-2000)}`]
      },
      [Symbol.asyncDispose]: kill,
    }
  } catch (error) {
    await kill()
    throw error
  }
}

async function listeningPort(stderr: NodeJS.ReadableStream | null): Promise<string> {
  let log = ''
  while (stderr) {
    const [text] = await once(stderr, 'data')
    log += text
    const port = /127\.0\.0\.1:(\d+)/.exec(log)?.[1]
    if (port) return port
  }
  throw new Error('no log')
}
