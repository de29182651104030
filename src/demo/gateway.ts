import diagnosticsChannel from 'node:diagnostics_channel'
import http from 'node:http'
import { createSseProxy } from '../proxy/proxy.ts'
import { close, listen, urlOf } from './listen.ts'

export interface Gateway {
  readonly url: string
  /** How many connections clients have opened. */
  readonly connections: number
  /** How often the upstream was opened anew. */
  readonly reconnects: number
  readonly state: 'connecting' | 'open' | 'waiting'
  /** What the latest answer failed with. */
  readonly error: Error | undefined
  close(): Promise<void>
}

/** Starts a reverse proxy in front of the upstream. All of the library's part is in here. */
export async function startGateway(upstreamUrl: string): Promise<Gateway> {
  let connections = 0
  let opens = 0
  let state: Gateway['state'] = 'connecting'
  let failure: Error | undefined
  const server = http.createServer(
    createSseProxy({
      upstream: new URL(upstreamUrl).origin,
      relay: { idleTimeout: 300, reconnect: { baseDelay: 30, maxDelay: 500, maxRetries: 50 } },
      onError: (error) => {
        failure = error
      },
    }),
  )
  server.on('connection', () => connections++)
  const onOpen = () => {
    opens++
    state = 'open'
  }
  const onDrop = () => {
    state = 'waiting'
  }
  diagnosticsChannel.subscribe('resilient-sse:open', onOpen)
  diagnosticsChannel.subscribe('resilient-sse:drop', onDrop)
  const port = await listen(server)
  return {
    url: urlOf(port),
    get connections() {
      return connections
    },
    get reconnects() {
      return Math.max(0, opens - 1)
    },
    get state() {
      return state
    },
    get error() {
      return failure
    },
    async close() {
      diagnosticsChannel.unsubscribe('resilient-sse:open', onOpen)
      diagnosticsChannel.unsubscribe('resilient-sse:drop', onDrop)
      await close(server)
    },
  }
}
