import type { IncomingMessage } from 'node:http'
import { readEvents, request } from '../support/client.ts'
import type { Random } from '../support/flaky-upstream.ts'
import { Ledger } from '../support/ledger.ts'

export interface ClientOptions {
  readonly url: string
  readonly random: Random
  /** After how many events, on average, it vanishes. */
  readonly meanEvents: number
}

/** Reads a stream to its end. Now and then it vanishes, and comes back with the last event ID that it has. */
export class SoakClient {
  readonly ledger = new Ledger()
  /** How often it vanished. */
  vanished = 0
  /** How often it met anything but events and, once, the end: none of it is the client's to see. */
  broken = 0
  /** The stream was read to its end. */
  done = false
  /** It stays for now. */
  staying = false
  /** It stays from now on, and an end is the end. */
  finishing = false
  readonly #options: ClientOptions
  #return: NodeJS.Timeout | undefined

  constructor(options: ClientOptions) {
    this.#options = options
  }

  async connect(): Promise<void> {
    let vanished = false
    try {
      const response = await request(this.#options.url, { lastEventId: this.ledger.lastEventId })
      vanished = await this.#read(response)
    } catch {
      this.broken++
    }
    if (vanished) this.vanished++
    if (!this.done) this.#return = setTimeout(() => void this.connect(), 100 * this.#options.random())
  }

  close(): void {
    clearTimeout(this.#return)
  }

  /** @returns Whether it vanished. */
  async #read(response: IncomingMessage): Promise<boolean> {
    let vanished = false
    let events = 0
    const over = readEvents(response, (arrival) => {
      if (arrival.data !== undefined) events++
      this.ledger.note(arrival)
    })
    response.on('data', () => {
      const stays = this.staying || this.finishing
      if (!stays && this.#options.random() < events / this.#options.meanEvents) {
        vanished = true
        if (this.#options.random() < 0.5) response.socket.resetAndDestroy()
        response.destroy()
      }
      events = 0
    })
    const error = await over
    if (vanished) return true
    // 204: it has come back for more, and there is no more.
    const isWhole = !error && (response.statusCode === 200 || response.statusCode === 204)
    if (isWhole && this.finishing) this.done = true
    else this.broken++
    return false
  }
}
