import http from 'node:http'
import {
  createSseProxy,
  httpUpstream,
  type ProxyOptions,
  type RelayOptions,
  type RelaySummary,
  relaySse,
  type UpstreamFactory,
} from '../../src/index.ts'
import { fast } from './events.ts'
import { serve, type TestServer } from './server.ts'
import { until } from './until.ts'

/** A server that relays an upstream, and the results of its relays. */
export interface Gateway extends AsyncDisposable {
  readonly server: TestServer
  readonly url: string
  /** The summaries of finished relays. */
  readonly summaries: RelaySummary[]
  /** The errors that relays rejected with, or that a proxy reported. */
  readonly faults: unknown[]
}

/** A node:http server that relays a URL or a factory, and answers 500 when a relay rejects before its head was sent. */
export async function relayTo(
  upstream: string | UpstreamFactory,
  options: RelayOptions = {},
): Promise<Gateway> {
  const summaries: RelaySummary[] = []
  const faults: unknown[] = []
  const factory = typeof upstream === 'string' ? httpUpstream(upstream) : upstream
  const server = await serve((req, res) => {
    relaySse(req, res, factory, { reconnect: fast, ...options }).then(
      (summary) => summaries.push(summary),
      (fault: unknown) => {
        faults.push(fault)
        if (!res.headersSent) res.writeHead(500).end()
      },
    )
  })
  return { server, url: server.url, summaries, faults, [Symbol.asyncDispose]: server.close }
}

/** Waits until a relay has ended. */
export function settled({ summaries, faults }: Gateway): Promise<void> {
  return until(
    () => summaries.length + faults.length > 0,
    () => 'the relay settles',
  )
}

/** A proxy for the upstream on a port. */
export async function proxyTo(port: number, options: Partial<ProxyOptions> = {}): Promise<Gateway> {
  const faults: unknown[] = []
  const agent = new http.Agent({ keepAlive: true })
  const server = await serve(
    createSseProxy({
      upstream: `http://127.0.0.1:${port}`,
      agent,
      onError: (error) => faults.push(error),
      ...options,
      relay: { reconnect: fast, ...options.relay },
    }),
  )
  return {
    server,
    url: server.url,
    summaries: [],
    faults,
    async [Symbol.asyncDispose]() {
      await server.close()
      agent.destroy()
    },
  }
}
