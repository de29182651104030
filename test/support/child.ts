import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The exit code and the output of a program. */
export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** A Node program in a process of its own, started in the project's folder. Disposing kills the process. */
export interface Program extends AsyncDisposable {
  readonly child: ChildProcess
  /** The standard output so far. */
  readonly out: string
  readonly ended: Promise<Ended>
}

/** The specifier with which a program that is passed as text imports the library. */
export const library = new URL('../../src/index.ts', import.meta.url).href

/** Starts Node with TypeScript. `args` are Node's arguments: a file and its arguments, or options that run a text. */
export function startNode(args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
  const child = spawn(process.execPath, ['--import', 'tsx', ...args], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    // Coverage is measured only in the tests' own process: reports of several processes on one file do not merge well.
    env: { ...process.env, NODE_V8_COVERAGE: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  const ended = once(child, 'close').then((): Ended => ({ code: child.exitCode, out, err }))
  return {
    child,
    get out() {
      return out
    },
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** Runs a module's text to its end. */
export function runModule(text: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended> {
  return startNode(['--input-type=module', '-e', text, ...args], env).ended
}
