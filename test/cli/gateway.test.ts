import { expect } from 'chai'
import { Gateway } from '../../src/cli/gateway.ts'
import { createLogger } from '../../src/cli/log.ts'

describe('the server of the command', () => {
  it('limits the time of a request’s head, and not that of its body', () => {
    const { server } = new Gateway([], createLogger({ format: 'json', level: 'error', write: () => {} }))
    expect(server.requestTimeout).to.equal(0)
    expect(server.headersTimeout).to.be.within(1, 60_000)
  })
})
