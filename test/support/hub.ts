import type { IncomingMessage } from 'node:http'
import {
  createSseHub,
  type HubOptions,
  httpUpstream,
  type SharedRelaySummary,
  type SharedStreamOptions,
  type SseHub,
  type UpstreamFactory,
} from '../../src/index.ts'
import type { Client } from './client.ts'
import { fast } from './events.ts'
import { serve, type TestServer } from './server.ts'

/** A server whose clients share one stream for each path, and the results of its relays. */
export interface HubServer extends AsyncDisposable {
  readonly hub: SseHub
  readonly server: TestServer
  readonly url: string
  /** The summaries of finished relays, in the order of their ends. */
  readonly summaries: SharedRelaySummary[]
  /** The errors that relays rejected with. */
  readonly faults: unknown[]
}

interface HubServerOptions extends SharedStreamOptions {
  readonly hub?: HubOptions
  /** The stream's name. Default: the path. */
  readonly nameOf?: (req: IncomingMessage) => string
  /** False: clients join existing streams only. */
  readonly opens?: boolean
}

/** A node:http server that relays the streams of a hub, and answers 500 when a relay rejects before its head was sent. */
export async function serveHub(
  upstream: string | UpstreamFactory,
  { hub: hubOptions = {}, nameOf = ({ url = '' }) => url, opens = true, ...options }: HubServerOptions = {},
): Promise<HubServer> {
  const hub = createSseHub(hubOptions)
  const summaries: SharedRelaySummary[] = []
  const faults: unknown[] = []
  const factory = typeof upstream === 'string' ? httpUpstream(upstream) : upstream
  const server = await serve((req, res) => {
    const own = opens ? factory : undefined
    hub.relay(req, res, nameOf(req), own, { reconnect: fast, ...options }).then(
      (summary) => summaries.push(summary),
      (fault: unknown) => {
        faults.push(fault)
        if (!res.headersSent) res.writeHead(500).end()
      },
    )
  })
  return {
    hub,
    server,
    url: server.url,
    summaries,
    faults,
    async [Symbol.asyncDispose]() {
      await hub.close()
      await server.close()
    },
  }
}

/** The header fields that a browser's EventSource sends. */
export const eventSource = { accept: 'text/event-stream', 'cache-control': 'no-cache' }

/** The data of the events that a client has received. */
export function dataIn({ text }: Pick<Client, 'text'>): string[] {
  return Array.from(text.matchAll(/^data: (.*)$/gm), ([, data = '']) => data)
}

/** The id that a client has received with an event. */
export function idOf({ text }: Pick<Client, 'text'>, data: string): string {
  const [, id] = new RegExp(`^id: (.*)\\n(?:event: .*\\n)?data: ${data}$`, 'm').exec(text) ?? []
  if (id === undefined) throw new Error(`no event ${data} in ${JSON.stringify(text)}`)
  return id
}
