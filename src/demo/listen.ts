import { once } from 'node:events'
import type { Server } from 'node:http'

const host = '127.0.0.1'
/** Connections that wait to be accepted: thousands may come back at once. */
const backlog = 4096

/** Listens on the loopback interface; on a free port for 0. Resolves with the port. */
export async function listen(server: Server, port = 0): Promise<number> {
  server.listen({ port, host, backlog })
  await once(server, 'listening')
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error(`no port to listen on: ${address}`)
  return address.port
}

/** Closes a server, whether it listens or not, and every connection that it has. */
export async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeAllConnections()
  await closed
}

export function urlOf(port: number): string {
  return `http://${host}:${port}/events`
}
