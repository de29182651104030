import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { parse } from 'yaml'
import { settings } from '../../src/cli/settings.ts'
import { runNode } from '../support/child.ts'

describe('examples/fleet', () => {
  it('has a docker-compose.yml that is YAML, with two gateways whose variables are settings of the command', () => {
    const text = readFileSync(new URL('../../examples/fleet/docker-compose.yml', import.meta.url), 'utf8')
    const { services, configs } = parse(text)
    expect(Object.keys(services)).to.have.members(['one', 'two', 'redis', 'nginx'])
    for (const name of ['one', 'two']) {
      const { environment } = services[name]
      const known = settings.map(({ variable }) => variable)
      expect(known).to.include.members(Object.keys(environment))
      expect(environment.RESILIENT_SSE_REDIS).to.equal('redis://redis:6379')
      expect(configs.nginx.content).to.include(`server ${name}:8080;`)
    }
  })

  it('has a script that shows a stream which goes on when the gateway that has its upstream is killed', async () => {
    const { code, out, err } = await runNode('examples/fleet/run.ts')
    expect(out).to.include('asked for what follows event 0\n')
    expect(out).to.include('is killed after event 10\n')
    expect(out.match(/^upstream: /gm)).to.have.length(2)
    expect(out).to.match(/events 1 to 60, each once\n$/)
    expect(code, err).to.equal(0)
  }).timeout(300_000)
})
