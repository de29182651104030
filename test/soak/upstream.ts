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

/** The kinds of drops. */
export const dropKinds = ['end', 'reset', 'half', 'unavailable', 'silence', 'replay', 'refused'] as const

export type DropKind = (typeof dropKinds)[number]

export interface UpstreamOptions {
  /** The number of streams; each stream has its own numbered events. */
  readonly streams: number
  /** Events per second in each stream. */
  readonly rate: number
  /** Average seconds that a connection is open. */
  readonly life: number
  readonly random: Random
  /** Leaves one event out, to check that the verdict detects a lost event. */
  readonly loseOne: boolean
}

interface Stream {
  readonly number: number
  /** The latest reader. */
  reader: string
  /** The event after which this reader started: only events that it has seen may be replayed. */
  readerStart: number
  /** The number of next requests that get a 503. */
  unavailable: number
  /** The number of events that the next answer to the same reader repeats. */
  replay: number
}

const ports = 5
/** Milliseconds between two checks for newly published events. */
const interval = 20
const mostEventsPerWrite = 64
/** Keeps a connection alive while the clock is held and no events are sent. */
const heartbeat = Buffer.from(':\n\n')
/** Events published before the first client connects: as many as a relay's window holds, so that the window is full at once. */
const backlog = 1000
/** The least milliseconds between two restarts of a server, each of which drops the connections of many streams. */
const betweenLeaves = 3000

/** Event streams on several ports that publish by the clock, resume from `Last-Event-ID`, and drop often. */
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
  readonly #servers = Array.from(
    { length: ports },
    () => new FlakyUpstream((request) => this.#answerTo(request)),
  )
  readonly #streams: Stream[]
  readonly #leftAt = new Array<number>(ports).fill(0)
  /** While the clock is held, no event is published and no connection drops. */
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

  /** The address of a stream: `<port>/<number>`. */
  addressOf(number: number): string {
    const { port } = new URL(this.#servers[number % ports]?.url ?? '')
    return `${port}/${number}`
  }

  /** Stops the clock until {@link go}: connections stay open, and no event is published. */
  hold(): void {
    this.#clock.hold()
  }

  go(): void {
    this.#clock.go()
  }

  /** Stops drops and publishing. Each stream ends after the latest published event, whose number is returned. */
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
    const received = Number(lastEventId ?? 0)
    if (this.#final !== undefined && received >= this.#final) return { status: 204 }
    return { steps: this.#stepsFrom(stream, this.#startOf(stream, String(headers['x-reader']), received)) }
  }

  #startOf(stream: Stream, reader: string, received: number): number {
    if (reader !== stream.reader) {
      stream.reader = reader
      stream.readerStart = received
      stream.replay = 0
    }
    const replay = Math.min(stream.replay, received - stream.readerStart)
    stream.replay = 0
    return received - replay + 1
  }

  *#stepsFrom(stream: Stream, start: number): Steps {
    const { random, life } = this.#options
    const dropAt = this.#clock.now() + random() * 2000 * life
    for (let next = start; ; ) {
      // Not in the turn of the request: a drop would come before the first bytes were sent.
      yield interval
      if (this.#clock.isHeld) yield heartbeat
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
