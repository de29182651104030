import { cp, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { type Program, startProcess } from '../support/child.ts'
import type { Example } from '../support/example.ts'
import { testsOfHubExample } from '../support/hub-example.ts'
import { ends, serve } from '../support/server.ts'
import { until } from '../support/until.ts'

const here = fileURLToPath(new URL('.', import.meta.url))

/** Resolves when a program has said where it listens. */
async function exampleOf(program: Program): Promise<Example> {
  const port = () => /(?:port: |http:\/\/localhost:)(\d+)/.exec(program.out)?.[1]
  try {
    await until(
      () => port() !== undefined || program.child.exitCode !== null,
      () => `the example listens: ${program.out}${program.err}`,
      30_000,
    )
    expect(port(), program.err).to.not.equal(undefined)
  } catch (error) {
    await program[Symbol.asyncDispose]()
    throw error
  }
  return {
    port: Number(port()),
    url: `http://localhost:${port()}`,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  }
}

/** Tests of an example that has `/events` as well. */
function testsOfExample(start: (env: NodeJS.ProcessEnv) => Promise<Example>): void {
  it('relays an upstream to each client', async () => {
    await using upstream = await serve(ends('id: 1\ndata: first\n\n'))
    await using example = await start({ UPSTREAM: upstream.url })
    for (const id of ['7', '8']) {
      const aborted = new AbortController()
      const headers = { 'last-event-id': id, accept: 'text/event-stream' }
      const { body, status } = await fetch(`${example.url}/events`, { headers, signal: aborted.signal })
      expect(status).to.equal(200)
      const first = await body?.getReader().read()
      expect(new TextDecoder().decode(first?.value)).to.include('first')
      aborted.abort()
    }
    const ids = upstream.requests.map(({ headers }) => headers['last-event-id'])
    expect(ids).to.include.members(['7', '8'])
  }).timeout(60_000)

  testsOfHubExample(start)
}

describe('examples/nestjs.ts', () => {
  testsOfExample(async (env) =>
    exampleOf(
      startProcess(
        ['--import', 'tsx', 'examples/nestjs.ts'],
        // Decorators of parameters need an option of TypeScript, and tsx takes the options of a file that names the program.
        { PORT: '0', TSX_TSCONFIG_PATH: 'examples/tsconfig.json', ...env },
        here,
      ),
    ),
  )
})

describe('examples/nextjs', function () {
  this.timeout(180_000)
  let folder: string
  const next = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    startProcess(
      [join(here, 'node_modules/next/dist/bin/next'), ...args],
      { NEXT_TELEMETRY_DISABLED: '1', ...env },
      folder,
    )

  before(async () => {
    // Next.js writes into the folder, where it must find the packages.
    folder = await mkdtemp(join(here, '.nextjs-'))
    await cp(join(here, 'examples/nextjs'), folder, { recursive: true })
    const { code, out, err } = await next(['build']).ended
    expect(code, out + err).to.equal(0)
  })

  after(() => rm(folder, { recursive: true, force: true }))

  testsOfExample(async (env) => exampleOf(next(['start', '--port', '0'], env)))
})
