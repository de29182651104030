import type { Browser } from 'playwright-core'
import { pageAt } from './chromium.ts'
import { type Client, openEventSource, openEventSourceClient } from './client.ts'
import { type Kind, type Settings, startGateway } from './gateway.ts'
import { startNginx, type Version } from './nginx.ts'
import { NumberedUpstream } from './numbered-upstream.ts'

/** Where the clients are: at the gateway itself, or behind an nginx that speaks this version to it. */
export type Front = Version | undefined

/** Clients of all kinds, in front of a gateway, in front of an upstream. */
export interface World extends AsyncDisposable {
  readonly upstream: NumberedUpstream
  open(): Promise<readonly Client[]>
  /** Another gateway takes the place of the first, for good. */
  replaceGateway(): Promise<void>
}

export async function startWorld(
  browser: Browser,
  kind: Kind,
  front: Front,
  settings: Settings,
): Promise<World> {
  await using stack = new AsyncDisposableStack()
  const upstream = stack.use(await NumberedUpstream.start())
  const start = async (port?: number) => stack.use(await startGateway(kind, upstream.url, settings, port))
  const gateway = await start()
  let { url } = gateway
  if (front !== undefined) {
    // nginx asks the second server once the first refuses.
    const spare = await start()
    url = stack.use(await startNginx([gateway.port, spare.port], front)).url
  }
  const page = stack.use(await pageAt(browser, url))
  const owned = stack.move()
  return {
    upstream,
    async open() {
      const own = [openEventSource(`${url}/events`), openEventSourceClient(`${url}/events`)]
      for (const client of own) owned.use(client)
      return [...own, ...(await page.open())]
    },
    async replaceGateway() {
      await gateway.stop()
      if (front === undefined) owned.use(await startGateway(kind, upstream.url, settings, gateway.port))
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
