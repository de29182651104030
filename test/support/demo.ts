import type { Status } from '../../src/demo/messages.ts'
import { type Program, startNode } from './child.ts'
import { type Client, get } from './client.ts'
import { until } from './until.ts'

/** The demonstration in processes of its own. */
export interface Demo extends AsyncDisposable {
  readonly program: Program
  /** The origin of the page. */
  readonly origin: string
  /** What the page is told. */
  readonly news: Client
  /** The latest status that the page was told. */
  readonly status: Status
  /** Sends what a button of the page sends. */
  post(path: string, headers?: Readonly<Record<string, string>>): Promise<Response>
}

/** Three processes take their time to start where many do. */
const patience = 50_000

/** @param where - Without a port of its own the demonstration takes the usual one, or another one when that is in use. */
export async function startDemo(
  where: 'at a free port' | 'at the usual port' = 'at a free port',
): Promise<Demo> {
  const program = await startNode('src/cli.ts', [
    'demo',
    ...(where === 'at a free port' ? ['--port', '0'] : []),
  ])
  const address = () => /http:\/\/[^/\s]+/.exec(program.out)?.[0]
  await until(
    () => address() !== undefined || program.child.exitCode !== null,
    () => `the demonstration starts: ${program.out}`,
    patience,
  )
  const origin = address()
  if (origin === undefined)
    throw new Error(`the demonstration ended at its start: ${(await program.ended).err}`)
  const news = await get(`${origin}/status`)
  return {
    program,
    origin,
    news,
    get status() {
      const [, data] = /.*event: status\ndata: ([^\n]*)\n\n/s.exec(news.text) ?? []
      const status: Status = JSON.parse(data ?? '')
      return status
    },
    post: (path, headers = { origin }) => fetch(origin + path, { method: 'POST', headers }),
    async [Symbol.asyncDispose]() {
      news.leave()
      await program[Symbol.asyncDispose]()
    },
  }
}
