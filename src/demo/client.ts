import http from 'node:http'
import { createParser } from 'eventsource-parser'
import type { Ledger } from './ledger.ts'

export interface ClientOptions {
  /** Ends the connection when aborted. */
  readonly signal: AbortSignal
  /** How many milliseconds without a single byte it puts up with. Default 30000. */
  readonly patience?: number
}

/** Reads a whole event stream over one connection. It knows nothing of what is behind the server that it talks to. */
export class Client {
  /** The longest time between two events, in milliseconds. */
  longestPause = 0
  readonly #ledger: Ledger
  #latest = 0

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /**
   * Resolves when the server ends the stream.
   *
   * @throws When the connection breaks, when it is silent for too long, and when `signal` is aborted.
   */
  async read(url: string, { signal, patience = 30_000 }: ClientOptions): Promise<void> {
    const request = http.get(url, { agent: false, headers: { accept: 'text/event-stream' }, signal })
    // The response fails as well, and that is where failures are met.
    request.on('error', () => {})
    let impatience: Error | undefined
    request.setTimeout(patience, () => {
      impatience = new Error(`nothing arrived for ${patience / 1000} s`)
      request.destroy(impatience)
    })
    try {
      await this.#readResponse(await responseTo(request))
    } catch (error) {
      // Of these a response knows only that it was cut off.
      signal.throwIfAborted()
      throw impatience ?? error
    }
  }

  async #readResponse(response: http.IncomingMessage): Promise<void> {
    if (response.statusCode !== 200) throw new Error(`the gateway answered ${response.statusCode}`)
    const parser = createParser({ onEvent: ({ id, data }) => this.#note(id, data) })
    this.#latest = performance.now()
    response.setEncoding('utf8')
    for await (const text of response) parser.feed(String(text))
  }

  #note(id: string | undefined, data: string): void {
    const now = performance.now()
    this.longestPause = Math.max(this.longestPause, now - this.#latest)
    this.#latest = now
    this.#ledger.note(id, data)
  }
}

function responseTo(request: http.ClientRequest): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('response', resolve)
    request.once('error', reject)
  })
}
