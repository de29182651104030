import http from 'node:http'
import { close, listen, urlOf } from './listen.ts'

/** Milliseconds between two attempts to listen again: another program may have taken the port. */
const nextAttempt = 50

/** A server on a free port that can stop for a time and return on the same port. */
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
   * Drops all connections and refuses new ones.
   *
   * @param away - Milliseconds until the server listens again. Default: until {@link comeBack} is called.
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
