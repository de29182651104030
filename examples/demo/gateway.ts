import http from 'node:http'
import { pipeline } from 'node:stream'
import {
  createResilientSseSource,
  httpUpstream,
  lastEventIdFrom,
  type ResilientSseSource,
} from '../../src/index.ts'
import { close, listen, urlOf } from './listen.ts'

export interface Gateway {
  readonly url: string
  /** How many connections clients have opened. */
  readonly connections: number
  /** What the latest client is being answered from. */
  readonly source: ResilientSseSource | undefined
  /** What the latest answer failed with. */
  readonly error: Error | undefined
  close(): Promise<void>
}

/** Starts a plain server that answers each GET with the upstream's events. All of the library's part is in here. */
export async function startGateway(upstreamUrl: string): Promise<Gateway> {
  let connections = 0
  let source: ResilientSseSource | undefined
  let failure: Error | undefined
  const factory = httpUpstream(upstreamUrl)

  const server = http.createServer((request, response) => {
    if (request.method !== 'GET') {
      response.writeHead(405, { allow: 'GET' }).end()
      return
    }
    source = createResilientSseSource(factory, {
      lastEventId: lastEventIdFrom(request),
      idleTimeout: 300,
      reconnect: { baseDelay: 30, maxDelay: 500, maxRetries: 50 },
    })
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
    })
    response.flushHeaders()
    pipeline(source, response, (error) => {
      // A premature close says no more than that the client has gone.
      if (error && error.code !== 'ERR_STREAM_PREMATURE_CLOSE') failure = error
    })
  })
  server.on('connection', () => connections++)

  const port = await listen(server)
  return {
    url: urlOf(port),
    get connections() {
      return connections
    },
    get source() {
      return source
    },
    get error() {
      return failure
    },
    close: () => close(server),
  }
}
