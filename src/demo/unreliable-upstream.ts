import type http from 'node:http'
import { type DropKind, DropPlan, type PlannedDrop } from './drop-plan.ts'
import { FlickeringServer } from './flickering-server.ts'
import { Publisher } from './publisher.ts'
import { createRandom, type Random, wholeBetween } from './random.ts'

export interface UnreliableUpstreamOptions {
  /** How many events are published; their ids are 1 to this. */
  readonly events: number
  /** Decides which drops there are, and after which events. */
  readonly seed: number
  /** The share of events after which there is a drop: 0 for none, 0.02 for one in 50. */
  readonly dropRate: number
  /** How fast events are published. Default 400. */
  readonly eventsPerSecond?: number
}

export interface UnreliableUpstream {
  readonly url: string
  /** How many events were sent at least once, to whomever. */
  readonly sent: number
  /** How many times an event was sent that had been sent before. */
  readonly sentAgain: number
  readonly drops: Readonly<Record<DropKind, number>>
  close(): Promise<void>
}

const mostEventsPerWrite = 32
/** What a 503 says about when to come back, in turn. */
const retryFields = [{ 'retry-after': '0' }, {}, { 'retry-after-ms': '25' }]

/**
 * Starts an event stream on a free port that publishes steadily and keeps all it has published, but loses its
 * connections in every way there is. It resumes from `Last-Event-ID`; a client that has everything gets a 204.
 */
export async function startUnreliableUpstream(
  options: UnreliableUpstreamOptions,
): Promise<UnreliableUpstream> {
  const upstream = new Upstream(options)
  await upstream.open()
  return upstream
}

/** An answer that is being sent. */
interface Feed {
  readonly response: http.ServerResponse
  /** What the client has: events up to this one are sent only as a replay. */
  readonly asked: number
  /** The event to send next. */
  next: number
}

class Upstream implements UnreliableUpstream {
  sent = 0
  sentAgain = 0
  readonly #events: number
  readonly #plan: DropPlan
  readonly #publisher: Publisher
  readonly #server = new FlickeringServer((request, response) => this.#answer(request, response))
  readonly #feeds = new Set<Feed>()
  /** Where writes are split. Not of the plan's numbers: how many writes there are depends on the machine. */
  readonly #random: Random
  /** How many of the next requests get a 503. */
  #unavailable = 0
  #answered503 = 0
  /** How many events too early the next answer starts. */
  #replay = 0

  constructor({ events, seed, dropRate, eventsPerSecond = 400 }: UnreliableUpstreamOptions) {
    this.#events = events
    this.#plan = new DropPlan(seed, dropRate)
    this.#publisher = new Publisher(events, eventsPerSecond)
    this.#random = createRandom(seed + 1)
  }

  get url(): string {
    return this.#server.url
  }

  get drops(): Readonly<Record<DropKind, number>> {
    return this.#plan.counts
  }

  async open(): Promise<void> {
    await this.#server.open()
    this.#publisher.start(() => {
      for (const feed of this.#feeds) this.#send(feed)
    })
  }

  async close(): Promise<void> {
    this.#publisher.stop()
    this.#feeds.clear()
    await this.#server.close()
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    if (this.#unavailable > 0) {
      this.#unavailable--
      response.writeHead(503, retryFields[this.#answered503++ % retryFields.length])
      response.end('restarting\n')
      return
    }
    const asked = Number(request.headers['last-event-id'] ?? 0) || 0
    const next = Math.max(0, asked - this.#replay) + 1
    if (next > this.#events) {
      response.writeHead(204).end()
      return
    }
    if (next <= asked) this.#replay = 0
    const feed = { response, asked, next }
    this.#feeds.add(feed)
    response.on('drain', () => this.#send(feed))
    response.on('close', () => this.#feeds.delete(feed))
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
    response.flushHeaders()
    this.#send(feed)
  }

  /** Sends what was published; when a drop is due, it takes the place of the next event. */
  #send(feed: Feed): void {
    const { response } = feed
    while (this.#feeds.has(feed) && !response.writableNeedDrain) {
      const due = this.#publisher.history[feed.next - 1]
      if (due === undefined) break
      if (this.#plan.isDue) this.#drop(feed, due)
      else this.#write(response, this.#take(feed))
    }
    if (feed.next > this.#events && this.#feeds.delete(feed)) response.end()
  }

  #take(feed: Feed): Buffer {
    const start = feed.next - 1
    const batch = this.#publisher.history.slice(start, start + mostEventsPerWrite)
    while (feed.next <= start + batch.length && !this.#plan.isDue) {
      if (feed.next > this.sent) this.sent = feed.next
      else this.sentAgain++
      // Replayed events are no progress: if they counted, a run might never end.
      if (feed.next > feed.asked) this.#plan.countEvent()
      feed.next++
    }
    return Buffer.concat(batch.slice(0, feed.next - 1 - start))
  }

  /** Writes in two pieces, so that chunks do not end where events end. */
  #write(response: http.ServerResponse, bytes: Buffer): void {
    const middle = wholeBetween(1, bytes.length - 1, this.#random())
    response.write(bytes.subarray(0, middle))
    response.write(bytes.subarray(middle))
  }

  #drop(feed: Feed, due: Buffer): void {
    this.#feeds.delete(feed)
    const drop = this.#plan.next()
    const misbehave = () => this.#misbehave(drop, feed.response, due)
    // What is written in one turn leaves at the end of it. Some resets do not wait for that, and it is lost.
    if (drop.kind === 'reset' && drop.chance < 0.3) misbehave()
    else setImmediate(misbehave)
  }

  #misbehave({ kind, chance }: PlannedDrop, response: http.ServerResponse, due: Buffer): void {
    switch (kind) {
      case 'end':
        response.end()
        break
      case 'reset':
        response.socket?.resetAndDestroy()
        break
      case 'silence':
        // The socket stays open until the other side has had enough of it.
        break
      case 'unavailable':
        this.#unavailable = wholeBetween(1, 3, chance)
        response.end()
        break
      case 'refused':
        this.#feeds.clear()
        this.#server.leave(wholeBetween(50, 250, chance))
        break
      case 'cut':
        cut(response, due, chance)
        break
      case 'replay':
        this.#replay = wholeBetween(1, 40, chance)
        response.end()
        break
    }
  }
}

/** Sends a part of an event and no more: the stream then ends as if it were whole, or the connection is gone. */
function cut(response: http.ServerResponse, event: Buffer, chance: number): void {
  const part = event.subarray(0, wholeBetween(1, event.length - 1, chance))
  // By the position's parity, so that both come about anywhere in an event.
  if (part.length % 2 === 0) response.end(part)
  else response.write(part, () => response.destroy())
}
