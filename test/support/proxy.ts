import { once } from 'node:events'
import http, { type IncomingMessage, type RequestListener } from 'node:http'
import net from 'node:net'
import { pipeline } from 'node:stream'
import { expect } from 'chai'
import {
  createSseHub,
  createSseProxy,
  type ProxyOptions,
  refuseUpgrade,
  type SseErrorCode,
  type SseHub,
} from '../../src/index.ts'
import { fast } from './events.ts'
import { serve, type TestServer } from './server.ts'
import { until } from './until.ts'

export interface Proxy extends AsyncDisposable {
  readonly server: TestServer
  readonly url: string
  readonly errors: Error[]
}

export type Options = Omit<ProxyOptions, 'upstream'> & { readonly path?: string }

/** A proxy for the upstream on a port. */
export async function proxyTo(
  { port }: { port: number },
  { path = '', relay, ...options }: Options = {},
): Promise<Proxy> {
  const errors: Error[] = []
  const agent = new http.Agent({ keepAlive: true })
  const server = await serve(
    createSseProxy({
      upstream: `http://127.0.0.1:${port}${path}`,
      relay: { reconnect: fast, ...relay },
      agent,
      onError: (error) => errors.push(error),
      ...options,
    }),
  )
  server.server.on('upgrade', refuseUpgrade).on('connect', refuseUpgrade)
  return {
    server,
    url: `http://127.0.0.1:${server.port}`,
    errors,
    async [Symbol.asyncDispose]() {
      await server.close()
      agent.destroy()
    },
  }
}

/** Waits until a proxy has reported an error, and checks the error's code. */
export async function reports({ errors }: Pick<Proxy, 'errors'>, code: SseErrorCode): Promise<void> {
  await until(
    () => errors.length > 0,
    () => 'the error is reported',
  )
  expect(errors[0]).to.have.property('code', code)
}

export interface SharingProxy extends Proxy {
  readonly hub: SseHub
}

/** A proxy for the upstream on a port, whose clients share streams. */
export async function sharingProxyTo(
  upstream: { port: number },
  options: Options = {},
): Promise<SharingProxy> {
  const { hub = createSseHub() } = options
  const proxy = await proxyTo(upstream, { ...options, hub })
  return {
    ...proxy,
    hub,
    async [Symbol.asyncDispose]() {
      await hub.close()
      await proxy[Symbol.asyncDispose]()
    },
  }
}

export interface Client {
  readonly request: http.ClientRequest
  readonly response: IncomingMessage
  readonly text: string
  /** Resolves with 'end' or the error's message. */
  readonly over: Promise<string>
}

/** Sends a request, and collects the body as text. Resolves when the head has arrived. */
export async function ask(url: string, options: http.RequestOptions = {}, body?: string): Promise<Client> {
  const request = http.request(url, { agent: false, ...options })
  const response = answerTo(request)
  request.end(body)
  return response
}

export async function answerTo(request: http.ClientRequest): Promise<Client> {
  let text = ''
  const over = new Promise<string>((resolve) => {
    request.on('error', ({ message }) => resolve(message))
    request.on('response', (response) => {
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve('end')).on('error', ({ message }) => resolve(message))
    })
  })
  const [response]: IncomingMessage[] = await once(request, 'response')
  if (!response) throw new Error('no response')
  return {
    request,
    response,
    get text() {
      return text
    },
    over,
  }
}

/** Sends raw bytes, and returns everything that arrives until the connection closes. */
export async function raw(port: number, bytes: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1').on('error', () => {})
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += chunk
  })
  socket.write(bytes, 'latin1')
  // Not `once` of node:events, which would reject for a reset: an answer may have arrived before the reset.
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
  return text
}

export const statusOf = (text: string) => Number(text.slice(9, 12))
export const rawGet = (target: string, ...fields: string[]) =>
  `${[`GET ${target} HTTP/1.1`, 'host: us', 'connection: close', ...fields].join('\r\n')}\r\n\r\n`

/** A handler that answers with the request's body as it arrives. */
export const echo: RequestListener = (req, res) => {
  res.flushHeaders()
  pipeline(req, res, () => {})
}

/** The values of all lines of a header field, in order. */
export const lines = ({ rawHeaders }: IncomingMessage, name: string) =>
  rawHeaders.filter((_, n) => n % 2 === 1 && rawHeaders[n - 1]?.toLowerCase() === name)

export const sse = { accept: 'text/event-stream' }
