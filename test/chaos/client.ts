import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { createParser } from 'eventsource-parser'
import type { SseEvent } from '../../src/index.ts'
import { Ledger } from './ledger.ts'
import type { Scenario } from './scenario.ts'

/**
 * Opens a stream of its own for a client, from where that is.
 *
 * @returns What it reads: bytes or events; nothing where there is no more.
 * @throws When it is refused.
 */
export type Open = (stream: number, lastEventId: string) => Promise<Readable | undefined>

/** How a stream of the client's ended; `'no more'` is a 204. */
type End = 'end' | 'broken' | 'refused' | 'left' | 'hung' | 'no more'

/** How many milliseconds without an event a client puts up with. */
export const patience = 15_000

/** Reads a stream to its end as the scenario has it, and comes back whenever it has left or was dropped. */
export class HostileClient {
  readonly ledger: Ledger
  /** Connections that broke although the client had not left. */
  broken = 0
  /** Streams that ended as if they were whole. */
  endedEarly = 0
  /** Answers that were none. */
  refused = 0
  /** Whether it gave up waiting. */
  hung = false
  readonly trace: string[]
  readonly #scenario: Scenario
  readonly #stops: number[]
  #lastEventId = ''
  #events = 0
  #latest = performance.now()

  constructor(scenario: Scenario, trace: string[]) {
    this.#scenario = scenario
    this.#stops = [...scenario.client.after]
    this.trace = trace
    this.ledger = new Ledger(scenario.log, scenario.replays)
  }

  /** Resolves when it has seen the end, or nothing more for too long. */
  async read(open: Open): Promise<void> {
    for (let stream = 0; !this.hung; stream++) {
      this.ledger.connect()
      const end = await this.#readStream(open, stream)
      this.trace.push(`client ${stream}: ${end}; has ${this.ledger.delivered}`)
      if (end === 'no more' || (end === 'end' && this.ledger.sawLast)) return
      if (end === 'end') this.endedEarly++
      if (end === 'broken') this.broken++
      if (end === 'refused') this.refused++
      if (performance.now() - this.#latest > patience) this.hung = true
      await sleep(end === 'left' ? this.#scenario.client.pause : 20)
    }
  }

  async #readStream(open: Open, stream: number): Promise<End> {
    try {
      const body = await open(stream, this.#lastEventId)
      return body === undefined ? 'no more' : await this.#readBody(body)
    } catch (error) {
      this.trace.push(`client ${stream}: ${error}`)
      return 'refused'
    }
  }

  #readBody(body: Readable): Promise<End> {
    return new Promise((resolve) => {
      let paused: NodeJS.Timeout | undefined
      const settle = (end: End) => {
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
      const note = (event: SseEvent) => {
        // What shares a chunk with the event at which it left is not its own any more.
        if (body.destroyed) return
        this.#note(event)
        // An id is told in front of its event.
        if (event.data === undefined || !this.#stops[0] || this.#events < this.#stops[0]) return
        this.#stops.shift()
        if (this.#scenario.client.kind === 'returning') settle('left')
        else if (this.#scenario.client.kind === 'stalling') pause(this.#scenario.client.pause)
      }
      const parse = parserFor(note)
      body.on('data', (chunk: unknown) => {
        parse(chunk)
        if (this.#scenario.client.kind === 'slow' && !body.destroyed) pause(this.#events % 5)
      })
      body.on('end', () => settle('end'))
      body.on('error', (error) => {
        this.trace.push(`client: ${error}`)
        settle('broken')
      })
      body.on('close', () => settle('broken'))
    })
  }

  #note({ id, event, data }: SseEvent): void {
    if (id !== undefined) this.#lastEventId = id
    if (data === undefined) return
    this.#events++
    this.#latest = performance.now()
    this.ledger.note({ id, type: event, data })
  }
}

/** Hands on the events in what a stream yields, whether that is bytes or the events themselves. */
function parserFor(note: (event: SseEvent) => void): (chunk: unknown) => void {
  const decoder = new TextDecoder()
  const parser = createParser({
    onId: (id) => note({ id }),
    onEvent: ({ id, event, data }) => note({ id, event, data }),
  })
  return (chunk) => {
    if (chunk instanceof Uint8Array) parser.feed(decoder.decode(chunk, { stream: true }))
    else note(Object(chunk))
  }
}
