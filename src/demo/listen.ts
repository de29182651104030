import { once } from 'node:events'
import type { Server } from 'node:http'

const host = '127.0.0.1'
/** Connections that may wait to be accepted: thousands of clients may reconnect at once. */
const backlog = 4096

/** Listens on the loopback interface, on a free port for 0. Resolves with the port. */
export async function listen(server: Server, port = 0): Promise<number> {
  server.listen({ port, host, backlog })
  await once(server, 'listening')
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error(`the server has no port: ${address}`)
  return address.port
}

/** Closes a server, which may not be listening, and all its connections. */
export async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeAllConnections()
  await closed
}

export function urlOf(port: number): string {
  return `http://${host}:${port}/events`
}
