import {
  type Answer,
  cut,
  type Ending,
  FlakyUpstream,
  inTwo,
  type Leave,
  oneOf,
  Publisher,
  type Random,
  type ReceivedRequest,
  type Steps,
  wholeBetween,
  wireOf,
} from '../support/flaky-upstream.ts'
import { HeldClock } from './clock.ts'

/** Every way in which the upstreams lose their connections. */
export const dropKinds = ['end', 'reset', 'half', 'unavailable', 'silence', 'replay', 'refused'] as const

export type DropKind = (typeof dropKinds)[number]

export interface UpstreamOptions {
  /** How many streams there are; each has its numbered events. */
  readonly streams: number
  /** Events that each stream publishes in a second. */
  readonly rate: number
  /** Seconds that a connection lives, on average. */
  readonly life: number
  readonly random: Random
  /** Leaves one event out, to see whether anybody notices. */
  readonly loseOne: boolean
}

interface Stream {
  readonly number: number
  /** Who asked last, and from where on it was sent events: it has seen no others, so no others are repeated. */
  reader: string
  readerStart: number
  /** How many of the next requests get a 503. */
  unavailable: number
  /** How many events too early the next answer to the same reader starts. */
  replay: number
}

const ports = 5
/** Milliseconds between two looks at what was published. */
const interval = 20
const mostEventsPerWrite = 64
/** Of life, where nothing else is sent. */
const sign = Buffer.from(':\n\n')
/** What is published before the first client comes: as much as a relay remembers, so that it does at once. */
const backlog = 1000
/** Losing a whole server loses the connections of many streams, so that happens once in a while only. */
const betweenLeaves = 3000

/** Event streams on a few ports, which resume from `Last-Event-ID`, keep up with the clock, and drop all the time. */
export class DroppingUpstream {
  readonly drops: Record<DropKind, number> = {
    end: 0,
    reset: 0,
    half: 0,
    unavailable: 0,
    silence: 0,
    replay: 0,
    refused: 0,
  }
  readonly #options: UpstreamOptions
  readonly #servers = Array.from({ length: ports }, () => new FlakyUpstream((asked) => this.#answerTo(asked)))
  readonly #streams: Stream[]
  readonly #leftAt = new Array<number>(ports).fill(0)
  /** While it is held nothing is published and nothing drops. */
  readonly #clock = new HeldClock()
  readonly #publisher: Publisher
  #final: number | undefined

  constructor(options: UpstreamOptions) {
    this.#options = options
    this.#publisher = new Publisher({ eventsPerSecond: options.rate, backlog, now: this.#clock.now })
    this.#streams = Array.from({ length: options.streams }, (_, number) => ({
      number,
      reader: '',
      readerStart: 0,
      unavailable: 0,
      replay: 0,
    }))
  }

  async open(): Promise<void> {
    for (const server of this.#servers) await server.start()
  }

  /** `<port>/<number>`: where a stream is. */
  addressOf(number: number): string {
    const { port } = new URL(this.#servers[number % ports]?.url ?? '')
    return `${port}/${number}`
  }

  /** Time stands still until {@link go}: open connections stay, and there is nothing new. */
  hold(): void {
    this.#clock.hold()
  }

  go(): void {
    this.#clock.go()
  }

  /** From here on nothing drops; each stream has as many events as are published by now, and then its end. */
  finish(): number {
    this.#final ??= this.#publisher.latest
    return this.#final
  }

  async close(): Promise<void> {
    for (const server of this.#servers) await server.close()
  }

  #answerTo({ path, headers, lastEventId }: ReceivedRequest): Answer {
    const stream = this.#streams[Number(path.slice(1))]
    if (stream === undefined) return { status: 404 }
    if (stream.unavailable > 0 && !this.#clock.isHeld) {
      const retryFields = stream.unavailable % 2 === 0 ? { 'retry-after-ms': '25' } : {}
      stream.unavailable--
      return { status: 503, headers: retryFields, body: 'restarting\n' }
    }
    const asked = Number(lastEventId ?? 0)
    if (this.#final !== undefined && asked >= this.#final) return { status: 204 }
    return { steps: this.#stepsFrom(stream, this.#startOf(stream, String(headers['x-reader']), asked)) }
  }

  #startOf(stream: Stream, reader: string, asked: number): number {
    if (reader !== stream.reader) {
      stream.reader = reader
      stream.readerStart = asked
      stream.replay = 0
    }
    const replay = Math.min(stream.replay, asked - stream.readerStart)
    stream.replay = 0
    return asked - replay + 1
  }

  *#stepsFrom(stream: Stream, start: number): Steps {
    const { random, life } = this.#options
    const dropAt = this.#clock.now() + random() * 2000 * life
    for (let next = start; ; ) {
      // Not in the turn of the request: a drop would come before anything that was sent.
      yield interval
      if (this.#clock.isHeld) yield sign
      const count = Math.min(mostEventsPerWrite, (this.#final ?? this.#publisher.latest) - next + 1)
      if (count > 0) {
        yield* inTwo(this.#wireOf(stream, next, count), random())
        next += count
      }
      if (this.#final !== undefined) {
        if (next > this.#final) return { how: 'end' }
      } else if (!this.#clock.isHeld && this.#clock.now() >= dropAt) {
        return this.#drop(stream, next)
      }
    }
  }

  #wireOf({ number }: Stream, first: number, count: number): Buffer {
    const events = Array.from({ length: count }, (_, n) => first + n)
    const sent = this.#options.loseOne && number === 0 ? events.filter((event) => event !== 20) : events
    return Buffer.concat(sent.map(wireOf))
  }

  #drop(stream: Stream, next: number): Ending | Leave {
    const { random } = this.#options
    const port = stream.number % ports
    let kind = oneOf(dropKinds, random())
    if (kind === 'refused' && performance.now() - (this.#leftAt[port] ?? 0) < betweenLeaves) kind = 'reset'
    this.drops[kind]++
    switch (kind) {
      case 'half':
        return cut(wireOf(next), random())
      case 'refused':
        this.#leftAt[port] = performance.now()
        return { how: 'leave', away: wholeBetween(50, 250, random()) }
      case 'unavailable':
        stream.unavailable = wholeBetween(1, 3, random())
        return { how: 'end' }
      case 'replay':
        stream.replay = wholeBetween(1, 60, random())
        return { how: 'end' }
      default:
        return { how: kind }
    }
  }
}
