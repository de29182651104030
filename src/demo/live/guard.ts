import type { IncomingMessage, ServerResponse } from 'node:http'

/** The origins of a port of the loopback interface. */
export function originsOf(port: number): readonly string[] {
  return ['127.0.0.1', 'localhost'].map((host) => `http://${host}:${port}`)
}

/**
 * Keeps other pages away from the servers of the demonstration. A request must name the server as its host, which the request
 * of a page behind a rebound DNS name does not, and only the demonstration's own page may read an answer.
 */
export class Guard {
  /** The port of the server that has the page. */
  readonly pagePort: number
  readonly #page: readonly string[]
  readonly #hosts = new Set<string>()

  constructor(pagePort: number) {
    this.pagePort = pagePort
    this.#page = originsOf(pagePort)
    this.serves(pagePort)
  }

  /** Adds a port on which a server of the demonstration listens. */
  serves(port: number): void {
    for (const origin of originsOf(port)) this.#hosts.add(new URL(origin).host)
  }

  /** Answers a request that is not for this server, and lets the page read the answer of any other. */
  admits(request: IncomingMessage, response: ServerResponse): boolean {
    const { host = '', origin } = request.headers
    if (!this.#hosts.has(host)) {
      response.writeHead(421, { 'content-type': 'text/plain' }).end('not a host of this server\n')
      return false
    }
    response.setHeader('vary', 'origin')
    if (origin !== undefined && this.#page.includes(origin)) {
      response.setHeader('access-control-allow-origin', origin)
    }
    return true
  }

  /** Whether the page itself has sent a request: browsers name the origin of each POST. */
  isFromPage({ headers: { origin } }: IncomingMessage): boolean {
    return origin !== undefined && this.#page.includes(origin)
  }
}
