import http from 'node:http'
import { createParser } from 'eventsource-parser'
import type { Random } from '../../src/demo/random.ts'
import { StreamLedger } from './ledger.ts'

export interface ClientOptions {
  readonly url: string
  readonly random: Random
  /** After how many events, on average, it vanishes. */
  readonly meanEvents: number
}

/** Reads a stream to its end. Now and then it vanishes, and comes back with the last event ID that it has. */
export class SoakClient {
  readonly ledger = new StreamLedger()
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

  connect(): void {
    const { lastEventId } = this.ledger
    const headers = { ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) }
    const request = http.get(this.#options.url, { agent: false, headers })
    let over = false
    const leave = (note: () => void) => {
      if (over) return
      over = true
      note()
      if (!this.done) this.#return = setTimeout(() => this.connect(), 100 * this.#options.random())
    }
    request.on('error', () => leave(() => this.broken++))
    request.on('response', (response) => {
      response.on('error', () => {})
      response.on('close', () => leave(() => this.#onEnd(response)))
      this.#read(response, () => {
        leave(() => this.vanished++)
        if (this.#options.random() < 0.5) response.socket.resetAndDestroy()
        else request.destroy()
      })
    })
  }

  close(): void {
    clearTimeout(this.#return)
  }

  #onEnd(response: http.IncomingMessage): void {
    // 204: it has come back for more, and there is no more.
    const whole = response.complete && (response.statusCode === 200 || response.statusCode === 204)
    if (whole && this.finishing) this.done = true
    else this.broken++
  }

  #read(response: http.IncomingMessage, vanish: () => void): void {
    let events = 0
    const parser = createParser({
      onEvent: ({ id, data }) => {
        events++
        this.ledger.note(id, data)
      },
    })
    response.setEncoding('utf8')
    response.on('data', (text: string) => {
      if (response.destroyed) return
      events = 0
      parser.feed(text)
      const stays = this.staying || this.finishing
      if (!stays && this.#options.random() < events / this.#options.meanEvents) vanish()
    })
  }
}
