import http, { type IncomingMessage, type RequestListener } from 'node:http'
import { finished, pipeline } from 'node:stream'
import {
  createDedupe,
  createResilientSseSource,
  createSerializer,
  EventTracker,
  httpUpstream,
  lastEventIdFrom,
  relaySse,
  type SourceOptions,
  type SseEvent,
} from '../../src/index.ts'
import { request } from '../support/client.ts'
import { serve } from '../support/server.ts'
import { type Open, patience } from './client.ts'
import type { HostileUpstream } from './upstream.ts'

/** A way from the upstream to the client. */
export interface Way extends AsyncDisposable {
  readonly open: Open
  /** Failures of the way itself, as messages. */
  readonly faults: readonly string[]
}

export type StartWay = (upstream: HostileUpstream) => Promise<Way>

export const reconnect = {
  baseDelay: 5,
  minDelay: 1,
  maxDelay: 40,
  maxRetries: Number.POSITIVE_INFINITY,
  jitter: 0.5,
  maxRetryAfter: 50,
} as const

/** Short enough for many half-open connections in a run, long enough for a busy machine. */
export const timeouts = { connectTimeout: 250, idleTimeout: 250 } as const

/** Larger than any log: the upstream may repeat the whole log. */
export const windowBytes = 16 * 2 ** 20

const options = { reconnect, ...timeouts, windowBytes } satisfies SourceOptions

/** A source without a server. */
export async function sourceWay({ scenario, url }: HostileUpstream): Promise<Way> {
  const agent = new http.Agent({ keepAlive: true })
  return {
    async open(stream, lastEventId) {
      return createResilientSseSource(httpUpstream(url, { agent, headers: { 'x-stream': stream } }), {
        ...options,
        objectMode: scenario.objectMode,
        ...(lastEventId !== '' && { lastEventId }),
      })
    },
    faults: [],
    async [Symbol.asyncDispose]() {
      agent.destroy()
    },
  }
}

/** The parts of a relay, composed by hand: source, dedupe, a stage of the author, serializer, response. */
export function composedWay(upstream: HostileUpstream): Promise<Way> {
  return serverWay(upstream, (factory, faults) => (req, res) => {
    const lastEventId = lastEventIdFrom(req)
    const tracker = new EventTracker(lastEventId === undefined ? {} : { lastEventId })
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    pipeline(
      createResilientSseSource(factory(req), { ...options, objectMode: true, dedupe: false, tracker }),
      createDedupe(tracker),
      async function* (events: AsyncIterable<SseEvent>) {
        for await (const event of events) yield event
      },
      createSerializer(),
      res,
      (error) => {
        if (error && error.code !== 'ERR_STREAM_PREMATURE_CLOSE') faults.push(String(error))
      },
    )
  })
}

export function relayWay(upstream: HostileUpstream): Promise<Way> {
  return serverWay(upstream, (factory, faults) => (req, res) => {
    relaySse(req, res, factory(req), { ...options, heartbeat: 30 }).then(
      ({ outcome, error }) => {
        if (outcome === 'failed' && res.headersSent) faults.push(String(error))
      },
      (error) => faults.push(`rejected: ${error}`),
    )
  })
}

type Listen = (
  factory: (request: IncomingMessage) => ReturnType<typeof httpUpstream>,
  faults: string[],
) => RequestListener

async function serverWay({ url }: HostileUpstream, listen: Listen): Promise<Way> {
  const faults: string[] = []
  const agent = new http.Agent({ keepAlive: true })
  const factory = (request: IncomingMessage) =>
    httpUpstream(url, { agent, headers: { 'x-stream': request.headers['x-stream'] } })
  const server = await serve(listen(factory, faults))
  return {
    open: openAt(server.url),
    faults,
    async [Symbol.asyncDispose]() {
      await server.close()
      agent.destroy()
    },
  }
}

/** Opens a stream over a connection of its own. */
export function openAt(url: string): Open {
  return async (stream, lastEventId) => {
    const headers = { accept: 'text/event-stream', 'x-stream': stream }
    const response = await request(url, { headers, lastEventId, patience })
    if (response.statusCode === 200) return response
    // Not read to its end: some error bodies never end.
    response.destroy()
    await new Promise((resolve) => finished(response, resolve))
    if (response.statusCode === 204) return undefined
    throw new Error(`answered ${response.statusCode}`)
  }
}
