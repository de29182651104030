import { type Program, startNode } from './child.ts'
import { until } from './until.ts'

/** Resolves with the port on which a program says that it listens. */
export async function portOf(program: Program): Promise<number> {
  const port = () => /port: (\d+)/.exec(program.out)?.[1]
  await until(
    () => port() !== undefined,
    () => 'the program listens',
  )
  return Number(port())
}

/** A program of `examples/` in a process of its own. */
export interface Example extends AsyncDisposable {
  readonly port: number
  /** Without a path. */
  readonly url: string
}

/** @param upstream - The URL of the upstream. Default: the example's own upstream. */
export async function startExample(
  file: string,
  upstream?: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Example> {
  const program = await startNode(`examples/${file}`, [], {
    PORT: '0',
    ...(upstream && { UPSTREAM: upstream }),
    ...env,
  })
  const dispose = () => program[Symbol.asyncDispose]()
  try {
    const port = await portOf(program)
    return { port, url: `http://localhost:${port}`, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}
