import type http from 'node:http'
import { FlickeringServer } from '../../src/demo/flickering-server.ts'
import { wireOf } from '../../src/demo/numbered-event.ts'
import { oneOf, type Random, wholeBetween } from '../../src/demo/random.ts'

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
  readonly port: number
  /** Who asked last, and from where on it was sent events: it has seen no others, so no others are repeated. */
  reader: string
  readerStart: number
  /** How many of the next requests get a 503. */
  unavailable: number
  /** How many events too early the next answer to the same reader starts. */
  replay: number
}

interface Feed {
  readonly stream: Stream
  readonly response: http.ServerResponse
  /** The number of the event to send next. */
  next: number
  /** When this connection is lost, on the clock of `performance.now()`. */
  dropAt: number
}

const ports = 5
const tick = 20
const mostEventsPerWrite = 64
/** Of life, where nothing else is sent. */
const sign = ':\n\n'
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
  readonly #servers: FlickeringServer[]
  readonly #streams: Stream[]
  readonly #feeds = new Set<Feed>()
  readonly #leftAt = new Array<number>(ports).fill(0)
  #start = 0
  /** Since when nothing is published and nothing drops, on the clock of `performance.now()`. */
  #heldAt: number | undefined
  #final: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: UpstreamOptions) {
    this.#options = options
    this.#servers = Array.from(
      { length: ports },
      () => new FlickeringServer((request, response) => this.#answer(request, response)),
    )
    this.#streams = Array.from({ length: options.streams }, (_, number) => ({
      number,
      port: number % ports,
      reader: '',
      readerStart: 0,
      unavailable: 0,
      replay: 0,
    }))
  }

  async open(): Promise<void> {
    for (const server of this.#servers) await server.open()
    this.#start = performance.now()
    this.#timer = setInterval(() => {
      for (const feed of this.#feeds) this.#send(feed)
    }, tick)
  }

  /** `<port>/<number>`: where a stream is. */
  addressOf(number: number): string {
    const { port } = new URL(this.#servers[number % ports]?.url ?? '')
    return `${port}/${number}`
  }

  /** Time stands still until {@link go}: open connections stay, and there is nothing new. */
  hold(): void {
    this.#heldAt ??= performance.now()
  }

  go(): void {
    if (this.#heldAt === undefined) return
    const held = performance.now() - this.#heldAt
    this.#start += held
    for (const feed of this.#feeds) feed.dropAt += held
    this.#heldAt = undefined
  }

  /** From here on nothing drops; each stream has as many events as are published by now, and then its end. */
  finish(): number {
    this.#final ??= this.#published()
    return this.#final
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#feeds.clear()
    for (const server of this.#servers) await server.close()
  }

  /** By the clock, so that a busy machine delivers later and not less. */
  #published(): number {
    return (
      backlog + Math.floor((((this.#heldAt ?? performance.now()) - this.#start) / 1000) * this.#options.rate)
    )
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const stream = this.#streams[Number(request.url?.slice(1))]
    if (stream === undefined) {
      response.writeHead(404).end()
      return
    }
    if (stream.unavailable > 0 && this.#heldAt === undefined) {
      const headers = stream.unavailable % 2 === 0 ? { 'retry-after-ms': '25' } : {}
      stream.unavailable--
      response.writeHead(503, headers).end('restarting\n')
      return
    }
    const asked = Number(request.headers['last-event-id'] ?? 0)
    if (this.#final !== undefined && asked >= this.#final) {
      response.writeHead(204).end()
      return
    }
    const dropAt = performance.now() + this.#options.random() * 2000 * this.#options.life
    const feed = { stream, response, next: this.#startOf(stream, request, asked), dropAt }
    this.#feeds.add(feed)
    response.on('error', () => {})
    response.on('close', () => this.#feeds.delete(feed))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
  }

  #startOf(stream: Stream, request: http.IncomingMessage, asked: number): number {
    const reader = String(request.headers['x-reader'])
    if (reader !== stream.reader) {
      stream.reader = reader
      stream.readerStart = asked
      stream.replay = 0
    }
    const replay = Math.min(stream.replay, asked - stream.readerStart)
    stream.replay = 0
    return asked - replay + 1
  }

  #send(feed: Feed): void {
    const { response, next } = feed
    if (response.writableNeedDrain) return
    const count = Math.min(mostEventsPerWrite, (this.#final ?? this.#published()) - next + 1)
    if (this.#heldAt !== undefined) response.write(sign)
    if (count > 0) {
      feed.next += count
      const bytes = Buffer.concat(Array.from({ length: count }, (_, n) => this.#wire(feed.stream, next + n)))
      // In two pieces, so that chunks do not end where events end.
      const middle = wholeBetween(0, bytes.length, this.#options.random())
      response.write(bytes.subarray(0, middle))
      response.write(bytes.subarray(middle))
    }
    if (this.#final !== undefined) {
      if (feed.next > this.#final && this.#feeds.delete(feed)) response.end()
    } else if (this.#heldAt === undefined && performance.now() >= feed.dropAt) this.#drop(feed)
  }

  #wire(stream: Stream, number: number): Buffer {
    const left = this.#options.loseOne && stream.number === 0 && number === 20
    return left ? Buffer.alloc(0) : wireOf(number)
  }

  #drop(feed: Feed): void {
    const { stream, response } = feed
    const { random } = this.#options
    this.#feeds.delete(feed)
    let kind = oneOf(dropKinds, random())
    if (kind === 'refused' && performance.now() - (this.#leftAt[stream.port] ?? 0) < betweenLeaves)
      kind = 'reset'
    this.drops[kind]++
    switch (kind) {
      case 'reset':
        response.socket?.resetAndDestroy()
        return
      case 'half':
        this.#cut(feed)
        return
      case 'silence':
        // The socket stays open until the other side has had enough of it.
        return
      case 'refused':
        this.#leftAt[stream.port] = performance.now()
        this.#servers[stream.port]?.leave(wholeBetween(50, 250, random()))
        return
      case 'unavailable':
        stream.unavailable = wholeBetween(1, 3, random())
        break
      case 'replay':
        stream.replay = wholeBetween(1, 60, random())
        break
    }
    response.end()
  }

  /** A part of an event and no more: the stream then ends as if it were whole, or the connection is gone. */
  #cut({ response, next }: Feed): void {
    const event = wireOf(next)
    const part = event.subarray(0, wholeBetween(1, event.length - 1, this.#options.random()))
    if (part.length % 2 === 0) response.end(part)
    else response.write(part, () => response.destroy())
  }
}
