import http, { type OutgoingHttpHeaders, type RequestListener } from 'node:http'
import net from 'node:net'
import {
  createSseProxy,
  type ProxyOptions,
  type RelayOptions,
  type RelaySummary,
  relaySse,
  type UpstreamFactory,
} from '../../src/index.ts'
import { fast } from '../support/events.ts'
import { serve, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/** A server in front of an upstream, and what became of its streams. */
export interface Gateway extends AsyncDisposable {
  readonly server: TestServer
  readonly url: string
  /** How relays ended. */
  readonly summaries: RelaySummary[]
  /** What relays rejected with, or a proxy reported. */
  readonly faults: unknown[]
}

/** A raw http server that relays, and answers 500 to a fault in front of the head. */
export async function relayTo(factory: UpstreamFactory, options: RelayOptions = {}): Promise<Gateway> {
  const summaries: RelaySummary[] = []
  const faults: unknown[] = []
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

/** The proxy in front of an upstream on a port. */
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

/** What a client of its own connection has got so far. */
export interface Client extends Disposable {
  readonly status: number | undefined
  readonly text: string
  /** `'end'` after a whole response, `'broken'` after one that was cut off, or none at all. */
  readonly over: 'end' | 'broken' | undefined
  /** Whether it reads; it does at first. */
  reads(whether: boolean): void
}

export function ask(url: string, headers: OutgoingHttpHeaders = {}): Client {
  let response: http.IncomingMessage | undefined
  let text = ''
  let failed = false
  const request = http.get(url, { agent: false, headers }, (answer) => {
    response = answer
    answer.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    answer.on('error', () => {})
  })
  request.on('error', () => {
    failed = true
  })
  return {
    get status() {
      return response?.statusCode
    },
    get text() {
      return text
    },
    get over() {
      if (response === undefined) return failed ? 'broken' : undefined
      if (!response.closed && !response.readableEnded) return undefined
      return response.complete ? 'end' : 'broken'
    },
    reads: (whether) => void (whether ? response?.resume() : response?.pause()),
    [Symbol.dispose]: () => void request.destroy(),
  }
}

/** A client's answer to its end, however that came. */
export async function answerOf(url: string, headers?: OutgoingHttpHeaders): Promise<Client> {
  using client = ask(url, headers)
  await isOver(client)
  return client
}

const isOver = (client: Client) =>
  until(
    () => client.over !== undefined,
    () => `the end of ${client.status} ${JSON.stringify(client.text.slice(-100))}`,
  )

export const has = (client: Client, part: string) =>
  until(
    () => client.text.includes(part),
    () => `${JSON.stringify(part)} in ${client.status} ${JSON.stringify(client.text.slice(-200))}`,
  )

/** Waits until nobody is connected to it. */
export const isLeft = ({ sockets }: Pick<TestServer, 'sockets'>) =>
  until(
    () => sockets.size === 0,
    () => `${sockets.size} sockets close`,
  )

/** An upstream of bytes that no http server would send. */
export interface RawUpstream extends AsyncDisposable {
  readonly port: number
  readonly url: string
  readonly sockets: ReadonlySet<net.Socket>
  /** The bytes of each request, as Latin-1. */
  readonly requests: string[]
}

/** @param answer - Called for what looks like a request: with the socket, and the number of the request, from 0. */
export async function serveRaw(answer: (socket: net.Socket, n: number) => void): Promise<RawUpstream> {
  const sockets = new Set<net.Socket>()
  const requests: string[] = []
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    socket.setEncoding('latin1').on('data', (text: string) => answer(socket, requests.push(text) - 1))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  const { port } = address
  return {
    port,
    url: `http://127.0.0.1:${port}/events`,
    sockets,
    requests,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    },
  }
}

/** Answers a request with its own cookie, `Last-Event-ID` and path, again and again, under ids that are everybody's. */
export const personal: RequestListener = (request, response) => {
  const { cookie = '', 'last-event-id': last = '0' } = request.headers
  const from = Number(last) + 1
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const id of [from, from + 1]) response.write(`id: ${id}\ndata: ${request.url} ${cookie} ${last}\n\n`)
  response.end()
}
