import http from 'node:http'
import { close, listen, urlOf } from './listen.ts'

/** Milliseconds between two attempts to get the port back, which another program may have taken meanwhile. */
const nextAttempt = 50

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

  /**
   * Drops every connection and refuses new ones, until it is back on the same port.
   *
   * @param away - After how many milliseconds it comes back by itself. Default: not before {@link comeBack}.
   */
  leave(away?: number): void {
    if (this.#closed) return
    this.#server.close()
    this.#server.closeAllConnections()
    if (away === undefined) clearTimeout(this.#return)
    else this.#comeBackIn(away)
  }

  comeBack(): void {
    clearTimeout(this.#return)
    if (this.#closed || this.#server.listening) return
    listen(this.#server, this.#port).catch(() => this.#comeBackIn(nextAttempt))
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#return)
    await close(this.#server)
  }

  #comeBackIn(delay: number): void {
    clearTimeout(this.#return)
    this.#return = setTimeout(() => this.comeBack(), delay)
  }
}
