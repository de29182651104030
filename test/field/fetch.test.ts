import { expect } from 'chai'
import { answers, freePort, serve } from '../support/server.ts'
import { kinds, startGateway } from './support/gateway.ts'

/** One retry, and that soon: what is answered is the failure, and not the limit of the time for an answer. */
const impatient = { baseDelay: 50, maxRetries: 1 }
const json = { headers: { accept: 'application/json' } }

for (const kind of kinds) {
  describe(`fetch for JSON, at ${kind}`, () => {
    it('gets a 502 when the upstream is unavailable', async () => {
      const away = `http://127.0.0.1:${await freePort()}`
      await using gateway = await startGateway(kind, away, impatient)
      const response = await fetch(`${gateway.url}/events`, json)
      await response.text()
      expect(response.status).to.equal(502)
    })

    for (const status of [404, 429, 503]) {
      it(`gets the ${status} of its upstream unchanged`, async () => {
        await using upstream = await serve(
          answers(status, { 'content-type': 'application/json', 'retry-after': '1' }, '{"no":true}'),
        )
        await using gateway = await startGateway(kind, `http://127.0.0.1:${upstream.port}`, impatient)
        const response = await fetch(`${gateway.url}/events`, json)
        expect(response.status).to.equal(status)
        expect(await response.text()).to.equal('{"no":true}')
        expect(response.headers.get('retry-after')).to.equal('1')
      })
    }
  })
}
