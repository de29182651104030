import { expect } from 'chai'
import type { Browser } from 'playwright-core'
import { launch, type Page, pageAt } from './support/chromium.ts'
import {
  type Client,
  faultsOf,
  haveGot,
  haveNoticed,
  openEventSource,
  openEventSourceClient,
} from './support/client.ts'
import { type Gateway, kinds, type Settings, startGateway } from './support/gateway.ts'
import { startNginx, type Version } from './support/nginx.ts'
import { NumberedUpstream } from './support/numbered-upstream.ts'

/** Few retries, so that an outage outlasts them at once; and clients that are told to come back soon. */
const impatient = { baseDelay: 50, maxDelay: 100, maxRetries: 2, retry: 300, heartbeat: 200 }

/** The defaults: an outage that is longer than `headTimeout` (5 s) ends before the retries do. */
const patient = { retry: 300 }

const fronts: readonly (Version | undefined)[] = [undefined, '1.0', '1.1']
let browser: Browser

/** Clients of all kinds, in front of a gateway, in front of an upstream. */
interface World extends AsyncDisposable {
  readonly upstream: NumberedUpstream
  readonly gateway: Gateway
  open(): Promise<readonly Client[]>
  /** Another gateway takes the place of the first, for good. */
  replaceGateway(): Promise<void>
}

for (const kind of kinds) {
  for (const version of fronts) {
    const front = version === undefined ? 'directly' : `through nginx, which speaks HTTP/${version}`

    async function start(settings: Settings): Promise<World> {
      await using stack = new AsyncDisposableStack()
      const upstream = stack.use(await NumberedUpstream.start())
      const begin = async (port?: number) => stack.use(await startGateway(kind, upstream.url, settings, port))
      const gateway = await begin()
      // nginx has a second server to go to, and asks for it only once the first refuses.
      const spare = version === undefined ? undefined : await begin()
      const nginx =
        version === undefined || spare === undefined
          ? undefined
          : stack.use(await startNginx([gateway.port, spare.port], version))
      const { url } = nginx ?? gateway
      const page: Page = stack.use(await pageAt(browser, url))
      const owned = stack.move()
      return {
        upstream,
        gateway,
        async open() {
          const events = `${url}/events`
          const own = [openEventSource(events), openEventSourceClient(events)]
          for (const client of own) owned.use(client)
          return [...own, ...(await page.open())]
        },
        async replaceGateway() {
          await gateway.stop()
          if (spare === undefined) owned.use(await startGateway(kind, upstream.url, settings, gateway.port))
        },
        [Symbol.asyncDispose]: () => owned.disposeAsync(),
      }
    }

    describe(`clients that reconnect, at ${kind}, ${front}`, () => {
      before(async () => {
        browser = await launch()
      })

      after(async () => {
        await browser.close()
      })

      it('come back to an upstream that was away when they connected', async () => {
        await using world = await start(impatient)
        world.upstream.leave()
        const clients = await world.open()
        await haveNoticed(clients, 1)
        world.upstream.publish(20)
        world.upstream.comeBack()
        await haveGot(clients, 20)
        expect(faultsOf(clients, 20)).to.deep.equal([])
      })

      it('are answered while the upstream is away, and stay until it is back', async () => {
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

      it('come back after an outage that outlasts the retries', async () => {
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

      it('come back after a restart of gateway and upstream', async () => {
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

      it('come back after a 429 at their first request', async () => {
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
}
