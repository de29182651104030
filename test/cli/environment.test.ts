import { expect } from 'chai'
import { ConfigError } from '../../src/cli/config.ts'
import { configOf, upstream } from '../support/config.ts'

describe('the environment', () => {
  const withVariable = (name: string, value: string) => () =>
    configOf(['--upstream', upstream], { [name]: value })

  for (const [name = '', value = ''] of [
    ['PATH', '/bin'],
    ['RESILIENT', '1'],
    ...['', 'DEMO_', '2_', 'A_B_', 'REDIS_'].flatMap((service) => [
      [`RESILIENT_SSE_${service}SERVICE_HOST`, '10.0.0.1'],
      [`RESILIENT_SSE_${service}SERVICE_PORT`, '80'],
      [`RESILIENT_SSE_${service}SERVICE_PORT_HTTP_ALT`, '80'],
      [`RESILIENT_SSE_${service}PORT`, 'tcp://10.0.0.1:80'],
      [`RESILIENT_SSE_${service}PORT_80_TCP`, 'tcp://10.0.0.1:80'],
      [`RESILIENT_SSE_${service}PORT_80_TCP_PROTO`, 'tcp'],
      [`RESILIENT_SSE_${service}PORT_5353_UDP_PORT`, '5353'],
      [`RESILIENT_SSE_${service}PORT_132_SCTP_ADDR`, '10.0.0.1'],
      [`RESILIENT_SSE_${service}NAME`, '/web/demo'],
      [`RESILIENT_SSE_${service}ENV_HOME`, '/root'],
    ]),
  ]) {
    it(`ignores ${name}=${value}, which another program sets`, () => {
      expect(withVariable(name, value)).not.to.throw()
    })
  }

  for (const [name, value] of [
    ['RESILIENT_SSE_PORT', '8080'],
    ['RESILIENT_SSE_METRICS_PORT', '9090'],
    ['RESILIENT_SSE_REDIS_PORT', '6379'],
    ['RESILIENT_SSE_REDIS_URL', 'redis://a.test'],
    ['RESILIENT_SSE_NAME', 'demo'],
    ['RESILIENT_SSE_PORT_80', '80'],
    ['RESILIENT_SSE_PORT_80_TLS', '80'],
    ['RESILIENT_SSE_DEMO_SERVICE', '1'],
    ['RESILIENT_SSE_X', '1'],
  ] as const) {
    it(`rejects ${name}=${value}, which no other program sets`, () => {
      expect(withVariable(name, value)).to.throw(ConfigError, `${name} is not a setting`)
    })
  }
})
