import http from 'node:http'
import { type Program, runNode, startNode } from './child.ts'
import { until } from './until.ts'

/** The command as a process, and its log so far. */
export interface Running extends AsyncDisposable {
  readonly program: Program
  readonly url: string
  readonly adminUrl: string
  readonly log: string
  /** Waits for a line of the log. */
  line(pattern: RegExp): Promise<string>
}

export const onFreePorts = ['--bind', '127.0.0.1:0', '--metrics-bind', '127.0.0.1:0']
export const quick = ['--base-delay', '20', '--max-delay', '50', '--jitter', '0']

/** Milliseconds. Many processes that start at the same time are slow. */
export const patience = 50_000

/** Starts the command and waits until it listens. */
export async function start(
  args: readonly string[],
  preload: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<Running> {
  const program = await startNode('src/cli.ts', [...onFreePorts, ...args], env, preload)
  let log = ''
  program.child.stderr?.on('data', (text: string) => {
    log += text
  })
  const line = async (pattern: RegExp) => {
    const find = () => log.split('\n').find((each) => pattern.test(each))
    await until(
      () => find() !== undefined || program.child.exitCode !== null,
      () => `${pattern} in ${log}`,
      patience,
    )
    const found = find()
    if (found === undefined) throw new Error(`ended without ${pattern}: ${log}`)
    return found
  }
  const portIn = (text: string) => /127\.0\.0\.1:(\d+)/.exec(text)?.[1]
  const adminUrl = `http://127.0.0.1:${portIn(await line(/metrics listening/))}`
  const url = `http://127.0.0.1:${portIn(await line(/msg"?[=:]"?listening/))}`
  return {
    program,
    url,
    adminUrl,
    get log() {
      return log
    },
    line,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  }
}

export const run = (...args: string[]) => runNode('src/cli.ts', args)

/** A client with its own connection, and what it has received so far. */
export interface Client extends Disposable {
  readonly status: number | undefined
  readonly text: string
  /** `'end'` after a complete response, `'broken'` after a response that was cut off. */
  readonly over: 'end' | 'broken' | undefined
}

export function ask(url: string, method = 'GET', headers: http.OutgoingHttpHeaders = {}): Client {
  const client: { status: number | undefined; text: string; over: Client['over'] } = {
    status: undefined,
    text: '',
    over: undefined,
  }
  const request = http.request(url, { method, agent: false, headers }, (response) => {
    client.status = response.statusCode
    response.setEncoding('utf8').on('data', (text: string) => {
      client.text += text
    })
    response.on('error', () => {})
    response.on('close', () => {
      client.over = response.complete ? 'end' : 'broken'
    })
  })
  request.on('error', () => {
    client.over ??= 'broken'
  })
  request.end()
  return Object.assign(client, { [Symbol.dispose]: () => void request.destroy() })
}

/** Sends a GET, and waits for the end of the answer. */
export async function answerOf(url: string): Promise<Client> {
  using client = ask(url)
  await until(
    () => client.over !== undefined,
    () => `an answer from ${url}`,
  )
  return client
}

export const got = (client: Client, part: string) =>
  until(
    () => client.text.includes(part),
    () => `${JSON.stringify(part)} in ${JSON.stringify(client.text)}`,
  )

export const over = (client: Client) =>
  until(
    () => client.over !== undefined,
    () => 'the end of the response',
  )
