import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { serve, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'
import { kinds, startGateway } from './support/gateway.ts'
import { pathOf } from './support/programs.ts'

/** How a connection to the upstream is over. */
const endings: Readonly<Record<string, (response: ServerResponse) => void>> = {
  'a kill': (response) => response.socket?.destroy(),
  'a clean end': (response) => response.end(),
}

function curl(url: string) {
  const child = spawn(pathOf('curl'), ['--silent', '--no-buffer', url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = once(child, 'close')
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  return {
    child,
    get out() {
      return out
    },
    async [Symbol.asyncDispose]() {
      child.kill()
      await closed
    },
  }
}

for (const kind of kinds) {
  describe(`curl -N, at ${kind}`, () => {
    for (const [how, end] of Object.entries(endings)) {
      it(`stays connected to an upstream without ids over ${how}`, async () => {
        const responses: ServerResponse[] = []
        await using upstream = await serve((_, response) => {
          const number = responses.push(response)
          stream(response, `data: of connection ${number}\n\n`)
        })
        await using gateway = await startGateway(kind, `http://127.0.0.1:${upstream.port}`, { baseDelay: 50 })
        await using client = curl(`${gateway.url}/events`)
        for (let n = 1; n <= 3; n++) {
          await until(
            () => client.out.includes(`of connection ${n}\n`) || client.child.exitCode !== null,
            () => `connection ${n} in ${client.out}`,
            20_000,
          )
          const response = responses.at(-1)
          if (response) end(response)
        }
        expect(client.out.match(/\d(?=\n)/g)).to.deep.equal(['1', '2', '3'])
        expect(client.child.exitCode).to.equal(null)
      })
    }
  })
}

describe('curl -N, at the command', () => {
  it('ends at `[DONE]`', async () => {
    await using upstream = await serve(stays('data: 1\n\n', 'data: [DONE]\n\n'))
    await using gateway = await startGateway('the command', `http://127.0.0.1:${upstream.port}`)
    await using client = curl(`${gateway.url}/events`)
    await until(
      () => client.child.exitCode !== null,
      () => `the end of ${client.out}`,
      20_000,
    )
    expect(client.child.exitCode).to.equal(0)
    expect(client.out).to.equal('data: 1\n\ndata: [DONE]\n\n')
    expect(upstream.requests).to.have.length(1)
  })
})
