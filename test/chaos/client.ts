import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { readEvents } from '../support/client.ts'
import { type Arrival, Ledger } from '../support/ledger.ts'
import type { Block } from './log.ts'
import type { Scenario } from './scenario.ts'

/**
 * Opens a stream that starts after the client's last event ID.
 *
 * @returns A stream of bytes or events; undefined for a 204.
 * @throws `Error` when the stream is refused.
 */
export type Open = (stream: number, lastEventId: string) => Promise<Readable | undefined>

/** How a stream of the client ended; `'no content'` is a 204. */
type End = 'end' | 'broken' | 'refused' | 'left' | 'hung' | 'no content'

/** Milliseconds without an event after which a client gives up. A busy machine takes 20 seconds for what takes one otherwise. */
export const patience = 120_000

/** Reads a stream to its end as the scenario's client does, and reconnects after each end, drop or refusal. */
export class HostileClient {
  readonly ledger: Ledger
  /** Connections that broke although the client had not disconnected. */
  broken = 0
  /** Streams that ended cleanly before the last event. */
  endedEarly = 0
  /** Refused connections. */
  refused = 0
  /** Whether the client gave up waiting for an event. */
  hung = false
  readonly trace: string[]
  readonly #scenario: Scenario
  readonly #stops: number[]
  #events = 0
  #latest = performance.now()

  constructor(scenario: Scenario, trace: string[]) {
    this.#scenario = scenario
    this.#stops = [...scenario.client.after]
    this.trace = trace
    this.ledger = new Ledger({
      positionOf: positionsIn(scenario.log),
      mayRepeat: (position) => !scenario.log[position - 1]?.counts,
      replayed: scenario.replays,
    })
  }

  /** Resolves when the client has received the end of the stream, or has given up. */
  async read(open: Open): Promise<void> {
    for (let stream = 0; !this.hung; stream++) {
      this.ledger.connect()
      const end = await this.#readStream(open, stream)
      this.trace.push(`client ${stream}: ${end}; has ${this.ledger.delivered}`)
      if (end === 'no content' || (end === 'end' && this.ledger.has(this.#scenario.log.length))) return
      if (end === 'end') this.endedEarly++
      if (end === 'broken') this.broken++
      if (end === 'refused') this.refused++
      if (performance.now() - this.#latest > patience) this.hung = true
      await sleep(end === 'left' ? this.#scenario.client.pause : 20)
    }
  }

  async #readStream(open: Open, stream: number): Promise<End> {
    try {
      const body = await open(stream, this.ledger.lastEventId ?? '')
      return body === undefined ? 'no content' : await this.#readBody(body)
    } catch (error) {
      this.trace.push(`client ${stream}: ${error}`)
      return 'refused'
    }
  }

  #readBody(body: Readable): Promise<End> {
    return new Promise((resolve) => {
      let paused: NodeJS.Timeout | undefined
      let over = false
      const settle = (end: End) => {
        over = true
        clearInterval(watch)
        clearTimeout(paused)
        resolve(end)
        body.destroy()
      }
      const watch = setInterval(() => {
        if (performance.now() - this.#latest < patience) return
        this.hung = true
        settle('hung')
      }, 500)
      const pause = (duration: number) => {
        body.pause()
        clearTimeout(paused)
        paused = setTimeout(() => body.resume(), duration)
      }
      const { kind, pause: duration } = this.#scenario.client
      const note = (arrival: Arrival) => {
        this.ledger.note(arrival)
        if (arrival.data === undefined) return
        this.#events++
        this.#latest = performance.now()
        if (!this.#stops[0] || this.#events < this.#stops[0]) return
        this.#stops.shift()
        if (kind === 'returning') settle('left')
        else if (kind === 'stalling') pause(duration)
      }
      void readEvents(body, note).then((error) => {
        if (error && !over) this.trace.push(`client: ${error}`)
        settle(error ? 'broken' : 'end')
      })
      if (kind === 'slow') body.on('data', () => body.destroyed || pause(this.#events % 5))
    })
  }
}

/** Finds the position of an arrival by its data. The id is compared only where the block has an id of its own. */
export function positionsIn(log: readonly Block[]): (arrival: Arrival) => number | undefined {
  const typeOf = (name: string | undefined) => name ?? 'message'
  return ({ id, event, data = '' }) => {
    const block = log[Number.parseInt(data, 10) - 1]
    if (block === undefined) return undefined
    const isSame =
      block.data === data && typeOf(block.type) === typeOf(event) && (!block.counts || block.id === id)
    return isSame ? block.position : undefined
  }
}
