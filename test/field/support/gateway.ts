import { fileURLToPath } from 'node:url'
import { type Program, startNode, startProcess } from '../../support/child.ts'
import { until } from '../../support/until.ts'

/** The two forms in which the library stands between a client and its upstream. */
export const kinds = ['the command', 'relaySse'] as const

export type Kind = (typeof kinds)[number]

/** Options by their names; those of the command in its own kinds of value. */
export type Settings = Readonly<Record<string, number | string>>

/** A gateway in a process of its own. */
export interface Gateway extends AsyncDisposable {
  readonly port: number
  readonly url: string
  /** What it has logged so far. */
  readonly log: string
  /** Tells it to stop, and waits until it has. */
  stop(): Promise<void>
}

/** A process takes its time to start where many do. */
const patience = 30_000

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))

const flagsOf = (settings: Settings) =>
  Object.entries(settings).flatMap(([name, value]) => [
    `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
    String(value),
  ])

async function start(kind: Kind, upstream: string, settings: Settings, port: number): Promise<Program> {
  return kind === 'the command'
    ? startProcess([
        file('../../../dist/cli.js'),
        ...['--upstream', upstream, '--bind', `127.0.0.1:${port}`],
        ...flagsOf(settings),
      ])
    : startNode('test/field/support/relay-server.ts', [upstream, String(port), JSON.stringify(settings)])
}

/** @param port - Where to listen. Default: a free port. */
export async function startGateway(
  kind: Kind,
  upstream: string,
  settings: Settings = {},
  port = 0,
): Promise<Gateway> {
  const program = await start(kind, upstream, settings, port)
  let log = ''
  program.child.stderr?.on('data', (text: string) => {
    log += text
  })
  const address = () => /\blistening address=127\.0\.0\.1:(\d+)/.exec(log)?.[1]
  await until(
    () => address() !== undefined || program.child.exitCode !== null,
    () => `${kind} listens: ${log}`,
    patience,
  )
  if (address() === undefined) throw new Error(`${kind} ended at its start: ${log}`)
  return {
    port: Number(address()),
    url: `http://127.0.0.1:${address()}`,
    get log() {
      return log
    },
    async stop() {
      program.child.kill('SIGTERM')
      await program.ended
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  }
}
