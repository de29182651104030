import { expect } from 'chai'
import type { Browser } from 'playwright-core'
import { launch } from './support/chromium.ts'
import { faultsOf, haveGot, haveNoticed } from './support/client.ts'
import { kinds, type Settings } from './support/gateway.ts'
import { type Front, startWorld } from './support/world.ts'

/** Few retries, so that an outage outlasts them at once; and clients that are told to come back soon. */
const impatient = { baseDelay: 50, maxDelay: 100, maxRetries: 2, retry: 300, heartbeat: 200 }

/** The defaults: an outage that is longer than `headTimeout` (5 s) ends before the retries do. */
const patient = { retry: 300 }

const fronts: readonly Front[] = [undefined, '1.0', '1.1']
const nameOf = (front: Front) =>
  front === undefined ? 'directly' : `through nginx, which speaks HTTP/${front}`

describe('clients that reconnect', () => {
  let browser: Browser

  before(async () => {
    browser = await launch()
  })

  after(async () => {
    await browser.close()
  })

  for (const [kind, front] of kinds.flatMap((kind) => fronts.map((front) => [kind, front] as const))) {
    describe(`at ${kind}, ${nameOf(front)}`, () => {
      const start = (settings: Settings) => startWorld(browser, kind, front, settings)

      it('reconnect to an upstream that was unavailable when they connected', async () => {
        await using world = await start(impatient)
        world.upstream.leave()
        const clients = await world.open()
        await haveNoticed(clients, 1)
        world.upstream.publish(20)
        world.upstream.comeBack()
        await haveGot(clients, 20)
        expect(faultsOf(clients, 20)).to.deep.equal([])
      })

      it('are answered while the upstream is unavailable, and stay connected until it is back', async () => {
        await using world = await start(patient)
        world.upstream.leave()
        const clients = await world.open()
        await haveNoticed(clients, 1)
        world.upstream.publish(10)
        world.upstream.comeBack()
        await haveGot(clients, 10)
        expect(faultsOf(clients, 10)).to.deep.equal([])
        expect(clients.map(({ signs }) => signs)).to.deep.equal(clients.map(() => 1))
      })

      it('reconnect after an outage that outlasts the retries', async () => {
        await using world = await start(impatient)
        world.upstream.publish(10)
        const clients = await world.open()
        await haveGot(clients, 10)
        world.upstream.leave()
        // Opened once, and lost, or refused, twice.
        await haveNoticed(clients, 3)
        world.upstream.publish(10)
        world.upstream.comeBack()
        await haveGot(clients, 20)
        expect(faultsOf(clients, 20)).to.deep.equal([])
      })

      it('reconnect after a restart of gateway and upstream', async () => {
        await using world = await start(impatient)
        world.upstream.publish(10)
        const clients = await world.open()
        await haveGot(clients, 10)
        world.upstream.leave()
        await world.replaceGateway()
        world.upstream.publish(10)
        world.upstream.comeBack()
        await haveGot(clients, 20)
        expect(faultsOf(clients, 20)).to.deep.equal([])
      })

      it('reconnect after a 429 at their first request', async () => {
        await using world = await start(impatient)
        world.upstream.isBusy = true
        const clients = await world.open()
        await haveNoticed(clients, 1)
        world.upstream.publish(10)
        world.upstream.isBusy = false
        await haveGot(clients, 10)
        expect(faultsOf(clients, 10)).to.deep.equal([])
      })
    })
  }
})
