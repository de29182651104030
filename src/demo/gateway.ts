import diagnosticsChannel from 'node:diagnostics_channel'
import http from 'node:http'
import { createSseProxy } from '../proxy/proxy.ts'
import { close, listen, urlOf } from './listen.ts'

export interface Gateway {
  readonly url: string
  /** The number of connections that clients have opened. */
  readonly connections: number
  /** The number of connections to the upstream after the first. */
  readonly reconnects: number
  readonly state: 'connecting' | 'open' | 'waiting'
  /** The error of the latest failed answer. */
  readonly error: Error | undefined
  close(): Promise<void>
}

/** Starts a reverse proxy for the upstream. Only this file of the demonstration uses the library. */
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
