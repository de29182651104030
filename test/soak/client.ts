import type { IncomingMessage } from 'node:http'
import { readEvents, request } from '../support/client.ts'
import type { Random } from '../support/flaky-upstream.ts'
import { type Arrival, Ledger, numbered } from '../support/ledger.ts'

export interface ClientOptions {
  readonly url: string
  readonly random: Random
  /** The average number of events after which the client disconnects. */
  readonly meanEvents: number
  /** Whether the ids are those of a shared stream: a position, and after a slash the upstream's id. */
  readonly isShared: boolean
}

/** Reads a stream to its end. Sometimes disconnects, and reconnects with its last event ID. */
export class SoakClient {
  readonly ledger: Ledger
  /** The number of times that the client has disconnected. */
  vanished = 0
  /** The number of failures that the client has seen. The relay must hide all failures of the upstream. */
  broken = 0
  /** Whether the stream was read to its end. */
  done = false
  /** While true, the client does not disconnect. */
  staying = false
  /** When true, the client no longer disconnects, and a clean end completes the stream. */
  finishing = false
  readonly #options: ClientOptions
  #return: NodeJS.Timeout | undefined

  constructor(options: ClientOptions) {
    this.#options = options
    this.ledger = new Ledger(options.isShared ? { positionOf: positionOfShared } : {})
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

  /** @returns Whether the client has disconnected. */
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
    // 204: the client has reconnected after the last event.
    const isWhole = !error && (response.statusCode === 200 || response.statusCode === 204)
    if (isWhole && this.finishing) this.done = true
    else this.broken++
    return false
  }
}

const positionOf = numbered()

function positionOfShared({ id, ...rest }: Arrival): number | undefined {
  return positionOf({ ...rest, id: id?.slice(id.indexOf('/') + 1) })
}
