import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { urlToHttpOptions } from 'node:url'
import { type Call, type CallOptions, dialHttp } from '../../src/http/dialer.ts'
import { certificate } from './certificate.ts'
import { until } from './until.ts'

/** A keep-alive agent that counts its connections. An agent with a private field works only as `this` of its own methods. */
export class CountingAgent extends http.Agent {
  #connections = 0

  constructor(options: http.AgentOptions = {}) {
    super({ keepAlive: true, ...options })
  }

  get connections(): number {
    return this.#connections
  }

  override createConnection(...args: Parameters<http.Agent['createConnection']>) {
    this.#connections++
    return super.createConnection(...args)
  }

  [Symbol.dispose](): void {
    this.destroy()
  }
}

export type DialOptions = Partial<CallOptions & Omit<Call, 'options'>>

/** Sends a request with dialHttp. */
export function dial(
  url: string,
  { signal = new AbortController().signal, body, onInformation, ...options }: DialOptions = {},
): Promise<IncomingMessage> {
  const given = { ...urlToHttpOptions(new URL(url)), headers: {}, ...options }
  return dialHttp({ options: given, signal, body, onInformation })
}

/** The error of a request that must fail. */
export async function failureOf(request: Promise<IncomingMessage>): Promise<unknown> {
  return request.then(
    ({ statusCode }) => {
      throw new Error(`answered ${statusCode}`)
    },
    (error: unknown) => error,
  )
}

export async function read(request: Promise<IncomingMessage>): Promise<string> {
  let text = ''
  for await (const chunk of await request) text += chunk
  return text
}

/** The numbers of an agent's used connections, idle connections and waiting requests. */
export function countsOf(agent: http.Agent): number[] {
  return [agent.sockets, agent.freeSockets, agent.requests].map((lists) => Object.values(lists).flat().length)
}

/** The number of an agent's connections that no request has, whoever keeps them. */
export function idleCountOf({ sockets, freeSockets }: http.Agent): number {
  const all = [sockets, freeSockets].flatMap((lists) => Object.values(lists).flat())
  return all.filter((socket) => socket && Reflect.get(socket, '_httpMessage') === null).length
}

/** Fills an agent's pool with idle connections. */
export async function fillPool(url: string, agent: http.Agent, connections = 1): Promise<void> {
  await Promise.all(Array.from({ length: connections }, () => read(dial(url, { agent }))))
  await until(
    () => countsOf(agent)[1] === connections,
    () => `idle connections: ${countsOf(agent)}`,
  )
}

/** A TCP server. `onData` is the answer to the first bytes of each connection, or a function that is called with the socket. */
export async function serveRaw(onData: string | ((socket: net.Socket) => void)) {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    socket.once('data', () => (typeof onData === 'string' ? socket.write(onData) : onData(socket)))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return {
    url: `http://127.0.0.1:${address.port}/`,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

export async function serveTls(handler: http.RequestListener) {
  const sockets = new Set<net.Socket>()
  const server = https.createServer(certificate, handler)
  server.on('connection', (socket) => {
    if (!(socket instanceof net.Socket)) return
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return {
    url: `https://localhost:${address.port}/`,
    server,
    sockets,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A handler that answers with the request's method and body. */
export const echo: http.RequestListener = async (req, res) => {
  let body = ''
  for await (const chunk of req) body += chunk
  res.end(`${req.method} ${body}`)
}
