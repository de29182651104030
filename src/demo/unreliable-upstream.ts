import { type DropKind, DropPlan } from './drop-plan.ts'
import { cut, type Ending } from './ending.ts'
import {
  type Answer,
  FlakyUpstream,
  inTwo,
  type Leave,
  type ReceivedRequest,
  type Steps,
} from './flaky-upstream.ts'
import { wireOf } from './numbered-event.ts'
import { Publisher } from './publisher.ts'
import { createRandom, wholeBetween } from './random.ts'

export interface UnreliableUpstreamOptions {
  /** The number of events, whose ids count from 1. */
  readonly events: number
  /** Decides the kinds and times of the drops. */
  readonly seed: number
  /** Drops per event: 0 for no drops, 0.02 for one drop in 50 events. */
  readonly dropRate: number
}

export interface UnreliableUpstream {
  readonly url: string
  /** The number of events that were sent at least once. */
  readonly sent: number
  /** The number of repeated sends. */
  readonly sentAgain: number
  readonly drops: Readonly<Record<DropKind, number>>
  close(): Promise<void>
}

const eventsPerSecond = 400
/** Milliseconds between two checks for newly published events. */
const interval = 10
const mostEventsPerWrite = 32
/** The header fields of consecutive 503s. */
const retryFields = [{ 'retry-after': '0' }, {}, { 'retry-after-ms': '25' }]

/**
 * Starts an event stream on a free port that publishes at a steady rate, stores all events, and drops its connections in
 * many ways. The upstream resumes from `Last-Event-ID`, and answers 204 when the client has all events.
 */
export async function startUnreliableUpstream(
  options: UnreliableUpstreamOptions,
): Promise<UnreliableUpstream> {
  const upstream = new Upstream(options)
  await upstream.start()
  return upstream
}

class Upstream implements UnreliableUpstream {
  sent = 0
  sentAgain = 0
  readonly #events: number
  readonly #plan: DropPlan
  readonly #publisher: Publisher
  readonly #server = new FlakyUpstream((request) => this.#answerTo(request))
  /** Decides where writes are split. Not the plan's generator, because the number of writes depends on the machine. */
  readonly #random: () => number
  /** The number of next requests that get a 503. */
  #unavailable = 0
  #answered503 = 0
  /** The number of events that the next answer repeats. */
  #replay = 0

  constructor({ events, seed, dropRate }: UnreliableUpstreamOptions) {
    this.#events = events
    this.#plan = new DropPlan(seed, dropRate)
    this.#publisher = new Publisher({ eventsPerSecond, last: events })
    this.#random = createRandom(seed + 1)
  }

  get url(): string {
    return this.#server.url
  }

  get drops(): Readonly<Record<DropKind, number>> {
    return this.#plan.counts
  }

  async start(): Promise<void> {
    await this.#server.start()
  }

  close(): Promise<void> {
    return this.#server.close()
  }

  #answerTo({ lastEventId }: ReceivedRequest): Answer {
    if (this.#unavailable > 0) {
      this.#unavailable--
      const headers = retryFields[this.#answered503++ % retryFields.length] ?? {}
      return { status: 503, headers, body: 'restarting\n' }
    }
    const received = Number(lastEventId) || 0
    const next = Math.max(0, received - this.#replay) + 1
    if (next > this.#events) return { status: 204 }
    if (next <= received) this.#replay = 0
    return { steps: this.#stepsFrom(next, received), headers: { 'cache-control': 'no-cache' } }
  }

  /** Sends published events until a drop is due. `received` is the number of the client's latest event. */
  *#stepsFrom(start: number, received: number): Steps {
    for (let next = start; next <= this.#events; ) {
      const latest = Math.min(this.#publisher.latest, next + mostEventsPerWrite - 1)
      if (next > latest) {
        yield interval
        continue
      }
      if (this.#plan.isDue) return yield* this.#drop(wireOf(next))
      const batch: Buffer[] = []
      for (; next <= latest && !this.#plan.isDue; next++) {
        batch.push(wireOf(next))
        if (next > this.sent) this.sent = next
        else this.sentAgain++
        // Replayed events do not count: otherwise replays alone could make drops due, and a run might never end.
        if (next > received) this.#plan.countEvent()
      }
      yield* inTwo(Buffer.concat(batch), this.#random())
    }
    return { how: 'end' }
  }

  *#drop(due: Buffer): Steps {
    const { kind, chance } = this.#plan.next()
    if (kind === 'reset' && chance < 0.3) return { how: 'reset at once' }
    // Node sends the writes of one turn at the end of the turn, so the drop waits for the next turn.
    yield 0
    return this.#endingOf(kind, chance, due)
  }

  #endingOf(kind: DropKind, chance: number, due: Buffer): Ending | Leave {
    switch (kind) {
      case 'cut':
        return cut(due, chance)
      case 'refused':
        return { how: 'leave', away: wholeBetween(50, 250, chance) }
      case 'unavailable':
        this.#unavailable = wholeBetween(1, 3, chance)
        return { how: 'end' }
      case 'replay':
        this.#replay = wholeBetween(1, 40, chance)
        return { how: 'end' }
      default:
        return { how: kind }
    }
  }
}
