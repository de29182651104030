import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { bundle } from './bundle.ts'

/** The exit code and the output of a program. */
export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** A Node program in a process of its own. Disposing kills the process. */
export interface Program extends AsyncDisposable {
  readonly child: ChildProcess
  /** The standard output so far. */
  readonly out: string
  /** The standard error so far. */
  readonly err: string
  readonly ended: Promise<Ended>
}

/** The specifier with which a program that is passed as text imports the library. */
export const library = new URL('../../src/index.ts', import.meta.url).href

const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Starts a program of this project.
 *
 * @param file - The TypeScript file, from the project's folder.
 * @param options - Node's own options.
 */
export async function startNode(
  file: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
  options: readonly string[] = [],
): Promise<Program> {
  return startProcess([...options, await bundle(file), ...args], env)
}

/** Starts a program that is given as the text of a module. */
export async function startModule(
  text: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<Program> {
  // As with a text after -e: the first of `args` is process.argv[1].
  const load = `await import(${JSON.stringify(pathToFileURL(await bundle({ text })).href)})`
  return startProcess(['--input-type=module', '-e', load, ...args], env)
}

/** Starts a program of another folder in that folder. */
export async function startInFolder(
  folder: string,
  file: string,
  args: readonly string[] = [],
): Promise<Program> {
  return startProcess([await bundle(join(folder, file), folder), ...args], {}, folder)
}

/** Runs a program to its end. */
export async function runNode(...args: Parameters<typeof startNode>): Promise<Ended> {
  return (await startNode(...args)).ended
}

/** Runs the text of a module to its end. */
export async function runModule(...args: Parameters<typeof startModule>): Promise<Ended> {
  return (await startModule(...args)).ended
}

/** Starts Node with arguments of its own, for programs that it can run as they are. */
export function startProcess(args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd = root): Program {
  const child = spawn(process.execPath, args, {
    cwd,
    // A program is a bundle, which coverage does not know.
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
    get err() {
      return err
    },
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
