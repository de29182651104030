import type http from 'node:http'
import {
  createResilientSseSource,
  httpUpstream,
  type ReconnectOptions,
  type ResilientSseSource,
} from '../../src/index.ts'
import { readEvents } from '../support/client.ts'
import { Ledger } from '../support/ledger.ts'
import type { AskedDelay } from './delays.ts'

/** One stream in byte mode, read and checked event by event. */
export class CheckedStream {
  readonly ledger = new Ledger()
  /** The delays that it asked for since {@link forget}. */
  delays: AskedDelay[] = []
  error: Error | undefined
  /** An event has come over the connection that is open. */
  isFresh = false
  readonly #source: ResilientSseSource<Buffer>
  /** When the upstream answered, which is just before the connection counts as open. */
  #answeredAt = 0

  constructor(url: string, agent: http.Agent, reconnect: ReconnectOptions) {
    const open = httpUpstream(url, { agent })
    this.#source = createResilientSseSource(
      async (context) => {
        const response = await open(context)
        this.#answeredAt = performance.now()
        return response
      },
      { reconnect },
    )
    this.#observe()
    void readEvents(this.#source, (arrival) => {
      if (arrival.data !== undefined) this.isFresh = true
      this.ledger.note(arrival)
    })
  }

  /** How long its connection has been open, in milliseconds. */
  get openFor(): number {
    return performance.now() - this.#answeredAt
  }

  forget(): void {
    this.delays = []
    this.isFresh = false
  }

  close(): void {
    this.#source.destroy()
  }

  #observe(): void {
    let duration = 0
    this.#source.on('error', (error) => {
      this.error = error
    })
    this.#source.on('drop', (drop) => {
      this.isFresh = false
      duration = drop.duration
    })
    this.#source.on('retry', ({ attempt, delay, source, error }) => {
      this.delays.push({
        attempt,
        delay,
        source,
        retryAfter: error.retryAfter,
        openFor: [duration, this.openFor],
      })
    })
  }
}
