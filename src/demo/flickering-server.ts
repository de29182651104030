import http from 'node:http'
import { close, listen, urlOf } from './listen.ts'

/** A server on a free port that can be gone for a while. */
export class FlickeringServer {
  readonly #server: http.Server
  #port = 0
  #return: NodeJS.Timeout | undefined
  #closed = false

  constructor(answer: http.RequestListener) {
    this.#server = http.createServer(answer)
  }

  get url(): string {
    return urlOf(this.#port)
  }

  async open(): Promise<void> {
    this.#port = await listen(this.#server)
  }

  /** Drops every connection and refuses new ones, until it is back on the same port. */
  leave(duration: number): void {
    if (this.#closed) return
    this.#server.close()
    this.#server.closeAllConnections()
    this.#returnIn(duration)
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#return)
    await close(this.#server)
  }

  #returnIn(delay: number): void {
    clearTimeout(this.#return)
    this.#return = setTimeout(() => {
      // Somebody else may have taken the port meanwhile.
      listen(this.#server, this.#port).catch(() => this.#returnIn(delay))
    }, delay)
  }
}
