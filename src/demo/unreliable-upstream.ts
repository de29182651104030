import { type DropKind, DropPlan } from './drop-plan.ts'
import { cut, type Ending } from './ending.ts'
import { type Answer, type Asked, FlakyUpstream, inTwo, type Leave, type Steps } from './flaky-upstream.ts'
import { wireOf } from './numbered-event.ts'
import { Publisher } from './publisher.ts'
import { createRandom, wholeBetween } from './random.ts'

export interface UnreliableUpstreamOptions {
  /** How many events are published; their ids are 1 to this. */
  readonly events: number
  /** Decides which drops there are, and after which events. */
  readonly seed: number
  /** The share of events after which there is a drop: 0 for none, 0.02 for one in 50. */
  readonly dropRate: number
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

const eventsPerSecond = 400
/** Milliseconds between two looks at what was published. */
const interval = 10
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
  await upstream.start()
  return upstream
}

class Upstream implements UnreliableUpstream {
  sent = 0
  sentAgain = 0
  readonly #events: number
  readonly #plan: DropPlan
  readonly #publisher: Publisher
  readonly #server = new FlakyUpstream((asked) => this.#answerTo(asked))
  /** Where writes are split. Not of the plan's numbers: how many writes there are depends on the machine. */
  readonly #random: () => number
  /** How many of the next requests get a 503. */
  #unavailable = 0
  #answered503 = 0
  /** How many events too early the next answer starts. */
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

  #answerTo({ lastEventId }: Asked): Answer {
    if (this.#unavailable > 0) {
      this.#unavailable--
      const headers = retryFields[this.#answered503++ % retryFields.length] ?? {}
      return { status: 503, headers, body: 'restarting\n' }
    }
    const asked = Number(lastEventId) || 0
    const next = Math.max(0, asked - this.#replay) + 1
    if (next > this.#events) return { status: 204 }
    if (next <= asked) this.#replay = 0
    return { steps: this.#stepsFrom(next, asked), headers: { 'cache-control': 'no-cache' } }
  }

  /** Sends what was published; when a drop is due, it takes the place of the next event. */
  *#stepsFrom(start: number, asked: number): Steps {
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
        // Replayed events are no progress: if they counted, a run might never end.
        if (next > asked) this.#plan.countEvent()
      }
      yield* inTwo(Buffer.concat(batch), this.#random())
    }
    return { how: 'end' }
  }

  *#drop(due: Buffer): Steps {
    const { kind, chance } = this.#plan.next()
    if (kind === 'reset' && chance < 0.3) return { how: 'reset at once' }
    // What is written in one turn leaves at the end of it.
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
