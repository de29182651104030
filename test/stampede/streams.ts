import type http from 'node:http'
import {
  createResilientSseSource,
  httpUpstream,
  type ReconnectOptions,
  type ResilientSseSource,
} from '../../src/index.ts'
import { readEvents } from '../support/client.ts'
import { Ledger } from '../support/ledger.ts'
import type { AnnouncedDelay } from './delays.ts'

/** A stream in byte mode whose events are checked as they arrive. */
export class CheckedStream {
  readonly ledger = new Ledger()
  /** The delays that the stream announced since {@link forget}. */
  delays: AnnouncedDelay[] = []
  error: Error | undefined
  /** Whether the current connection has brought an event. */
  isFresh = false
  readonly #source: ResilientSseSource<Buffer>
  /** When the upstream answered, just before the stream counts the connection as open. */
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

  /** Milliseconds since the connection was opened. */
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
