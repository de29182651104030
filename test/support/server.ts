import { once } from 'node:events'
import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import net, { type Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { until } from './until.ts'

/** A server on a free port of the loopback interface. Disposing closes every connection. */
export interface TestServer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly server: http.Server
  /** Every request so far. */
  readonly requests: IncomingMessage[]
  /** The open sockets. */
  readonly sockets: ReadonlySet<Socket>
  close(): Promise<void>
}

export async function serve(handler: RequestListener, port = 0): Promise<TestServer> {
  const requests: IncomingMessage[] = []
  const sockets = new Set<Socket>()
  const server = http.createServer((request, response) => {
    requests.push(request)
    handler(request, response)
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const close = async () => {
    server.closeAllConnections()
    for (const socket of sockets) socket.destroy()
    if (server.listening) {
      server.close()
      await once(server, 'close')
    }
  }
  const address = portOf(server)
  return {
    url: `http://127.0.0.1:${address}/events`,
    port: address,
    server,
    requests,
    sockets,
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** Serves request n with script n, and further requests with the last script. */
export function serveInTurn(...scripts: [RequestListener, ...RequestListener[]]): Promise<TestServer> {
  let n = 0
  return serve((request, response) => (scripts[n++] ?? scripts.at(-1))?.(request, response))
}

/** Starts an event stream and writes to it. */
export function stream(response: ServerResponse, ...chunks: (string | Uint8Array)[]): ServerResponse {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.flushHeaders()
  for (const chunk of chunks) response.write(chunk)
  return response
}

/** A script: writes the chunks, then ends cleanly. */
export function ends(...chunks: (string | Uint8Array)[]): RequestListener {
  return (_, response) => {
    stream(response, ...chunks).end()
  }
}

/** A script: writes the chunks, and resets the connection after they were sent. */
export function resets(...chunks: (string | Uint8Array)[]): RequestListener {
  return (request, response) => {
    const reset = () => setImmediate(() => request.socket.resetAndDestroy())
    stream(response, ...chunks.slice(0, -1)).write(chunks.at(-1) ?? ':\n', reset)
  }
}

/** A script: writes the chunks and stays open. */
export function stays(...chunks: (string | Uint8Array)[]): RequestListener {
  return (_, response) => {
    stream(response, ...chunks)
  }
}

/** Starts an event stream and writes events until the response is closed, with backpressure. */
export function flood(response: ServerResponse): void {
  stream(response)
  const write = () => {
    while (!response.destroyed && response.write(`data: ${'x'.repeat(1000)}\n\n`));
  }
  response.on('drain', write)
  write()
}

/** The number of bytes that a socket has sent, once that number no longer grows. */
export async function settledBytes(socket: Socket | undefined): Promise<number> {
  let written = -1
  while (socket && socket.bytesWritten !== written) {
    written = socket.bytesWritten
    // No event says that a socket is idle.
    await sleep(50)
  }
  return written
}

/** Whether bytes wait in a socket because the other side does not read. */
export async function isStuck(socket: Socket): Promise<boolean> {
  // Node 26 passes what was written on to the socket in a later turn.
  await nextTurn()
  for (let turn = 0; turn < 20 && socket.writableLength > 0; turn++) await nextTurn()
  return socket.writableLength > 0
}

/** A script: answers with a status and a body; 204 and 304 have no body. */
export function answers(
  status: number,
  headers: http.OutgoingHttpHeaders = {},
  body = 'no',
): RequestListener {
  return (_, response) => {
    response.writeHead(status, headers).end(status === 204 || status === 304 ? undefined : body)
  }
}

/** Waits until all connections of a server that are in use are closed. */
export const isLeft = ({
  sockets,
  server,
}: Pick<TestServer, 'sockets'> & Partial<Pick<TestServer, 'server'>>) =>
  until(
    () => {
      // A connection that a pool keeps for the next request is not in use.
      server?.closeIdleConnections()
      return sockets.size === 0
    },
    () => `${sockets.size} sockets close`,
  )

/** An upstream that sends raw bytes, also those that no HTTP server would send. */
export interface RawUpstream extends AsyncDisposable {
  readonly port: number
  readonly url: string
  readonly sockets: ReadonlySet<Socket>
  /** The bytes of each request, as Latin-1. */
  readonly requests: string[]
}

/** @param answer - Called for each chunk, which is taken for a request: with the socket, and the request's number from 0. */
export async function serveRaw(answer: (socket: Socket, n: number) => void): Promise<RawUpstream> {
  const sockets = new Set<Socket>()
  const requests: string[] = []
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    socket.setEncoding('latin1').on('data', (text: string) => answer(socket, requests.push(text) - 1))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const port = portOf(server)
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

/** A port on which no server listens. */
export async function freePort(): Promise<number> {
  const server = http.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const port = portOf(server)
  server.close()
  await once(server, 'close')
  return port
}

/** The port that a server listens on. */
export function portOf(server: net.Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return address.port
}
