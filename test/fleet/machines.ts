import type { OutgoingHttpHeaders } from 'node:http'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { type HubOptions, httpUpstream, type SharedStreamOptions, type StreamStore } from '../../src/index.ts'
import type { RedisClient } from '../../src/redis.ts'
import { ask, type Client, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { eventSource, type HubServer, serveHub } from '../support/hub.ts'
import { type Publisher, publisher } from '../support/publisher.ts'

/** The clients of both packages for a server. They connect again soon. */
export const packages: Readonly<Record<string, (url: string) => RedisClient>> = {
  redis: (url) => createClient({ url, socket: { reconnectStrategy: 20 } }),
  ioredis: (url) => new Redis(url, { lazyConnect: true, retryStrategy: () => 20 }),
}

/** Of a request that the upstream is sent once. */
export const completion: SharedStreamOptions = {
  linger: Number.POSITIVE_INFINITY,
  resume: 'before-first-event',
}

export interface MachineOptions extends SharedStreamOptions {
  readonly hub?: HubOptions
}

/** A hub in this process that serves one stream of a store, from its start on. */
export function startMachine(
  upstream: string,
  stream: string,
  store: StreamStore,
  { hub, ...options }: MachineOptions = {},
): Promise<HubServer> {
  const request = options.resume === undefined ? {} : { method: 'POST', body: '{}' }
  return serveHub(httpUpstream(upstream, request), {
    hub: { store, poll: 100, ...hub },
    nameOf: () => stream,
    from: 'start',
    ...options,
  })
}

/** Publishes event 1 once the upstream is open. Resolves when the client has it. */
export async function publishFirst(upstream: Publisher, client: Client): Promise<void> {
  await upstream.isOpen()
  upstream.publish()
  await has(client, 'event 1')
}

/**
 * Starts two machines that serve one stream. Each has a client, which has got event 1; the first machine has the upstream.
 *
 * @param start - Starts a machine, with the upstream's URL.
 * @param fields - Header fields of the clients' requests.
 */
export async function twoMachines<Machine extends AsyncDisposable & { readonly url: string }>(
  start: (upstream: string) => Promise<Machine>,
  fields: OutgoingHttpHeaders = eventSource,
) {
  const upstream = await publisher(wire)
  const first = await start(upstream.server.url)
  const owned = ask(first.url, fields)
  await publishFirst(upstream, owned)
  const second = await start(upstream.server.url)
  const followed = ask(second.url, fields)
  await has(followed, 'event 1')
  return {
    upstream,
    first,
    second,
    owned,
    followed,
    async [Symbol.asyncDispose]() {
      for (const client of [followed, owned]) client.leave()
      for (const each of [second, first, upstream]) await each[Symbol.asyncDispose]()
    },
  }
}

/** A connection to a server, for commands of a test. */
export async function connectTo(url: string) {
  const client = createClient({ url })
  client.on('error', () => {})
  await client.connect()
  return { client, [Symbol.dispose]: () => client.destroy() }
}
