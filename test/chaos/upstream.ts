import type { OutgoingHttpHeaders } from 'node:http'
import {
  type Answer,
  type Ending,
  FlakyUpstream,
  type Leave,
  oneOf,
  type ReceivedRequest,
  type Steps,
  wholeBetween,
} from '../support/flaky-upstream.ts'
import type { Block } from './log.ts'
import type { ConnectionPlan, Fault, Scenario } from './scenario.ts'
import { Writer } from './wire.ts'

type Refusal = readonly [status: number, headers: OutgoingHttpHeaders]

const refusals: readonly [Refusal, ...Refusal[]] = [
  [408, {}],
  [425, {}],
  [429, { 'retry-after': '0' }],
  [429, { 'retry-after-ms': '20' }],
  [500, {}],
  [502, { 'content-type': 'text/event-stream' }],
  [503, { 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }],
  [503, { 'retry-after': 'soon' }],
  [504, {}],
]

/** An upstream that stores its whole log, and fails as the scenario says. */
export class HostileUpstream {
  /** A log of the run, to understand a failure. */
  readonly trace: string[] = []
  readonly faultCounts = new Map<Fault, number>()
  readonly scenario: Scenario
  readonly #server = new FlakyUpstream((request) => this.#answerTo(request))
  /** The highest position that was sent to any client. */
  #frontier = 0
  #restarted = false
  /** Streams that have certainly received an event: before the first event, a wrong content type is not retried. */
  readonly #begun = new Set<string>()

  private constructor(scenario: Scenario) {
    this.scenario = scenario
  }

  static async start(scenario: Scenario): Promise<HostileUpstream> {
    const upstream = new HostileUpstream(scenario)
    await upstream.#server.start()
    return upstream
  }

  get url(): string {
    return this.#server.url
  }

  /** The number of attempts. */
  get requests(): number {
    return this.#server.requests
  }

  /** The number of answers that neither side has ended. */
  get open(): number {
    return this.#server.open
  }

  close(): Promise<void> {
    return this.#server.close()
  }

  #answerTo({ n, headers, lastEventId }: ReceivedRequest): Answer {
    const plan = this.scenario.connection(n)
    const stream = String(headers['x-stream'] ?? '')
    const next = this.#positionAfter(lastEventId)
    const fault = plan.fault === 'html' && !this.#begun.has(stream) ? 'status' : plan.fault
    this.trace.push(
      `upstream ${n} for stream ${stream}: Last-Event-ID ${lastEventId?.slice(0, 30)}, resumes at ${next} of ${this.scenario.log.length}; ` +
        `${fault ?? 'no fault'} after ${plan.events} events, ${plan.delivery}, overlap ${plan.overlap}`,
    )
    if (next > this.scenario.log.length) return { status: 204 }
    if (fault) this.faultCounts.set(fault, (this.faultCounts.get(fault) ?? 0) + 1)
    const early = { exact: 0, overlapping: plan.overlap, ignored: next }[this.scenario.resume]
    return (
      refusalOf(fault, plan) ?? this.#stream({ plan, fault, stream, next, from: Math.max(1, next - early) })
    )
  }

  /** The position after the block with this id; the first block with this id, where several blocks share the id. */
  #positionAfter(lastEventId: string | undefined): number {
    const { log } = this.scenario
    if (lastEventId === undefined) return 1
    const sent = log.slice(0, this.#frontier)
    const last = sent.findLastIndex(({ id }) => id === lastEventId)
    if (last === log.length - 1) return log.length + 1
    if (last === -1) return 1
    let first = last
    while (first > 0 && sent[first - 1]?.id === lastEventId) first--
    // The next block, which was not sent yet, may share the id too.
    const shared = first < last || log[last + 1]?.id === lastEventId
    return shared ? first + 1 : last + 2
  }

  #stream({ plan, fault, stream, next, from }: Sending): Answer {
    const { log, restart } = this.scenario
    const writer = new Writer(plan.random)
    const end = fault === undefined ? log.length : Math.min(log.length, next - 1 + plan.events)
    const crash = restart !== undefined && !this.#restarted && end >= restart && from <= restart
    const blocks = log.slice(from - 1, crash ? restart : end)
    const bytes = blocks.map((block) => writer.bytesOf(block))
    const following = log[from - 1 + blocks.length]
    const part = following && isCut(fault) && !crash ? cut(writer, following, plan) : undefined
    const whole = bytes.reduce((size, { length }) => size + length, 0)
    this.#frontier = Math.max(this.#frontier, from - 1 + blocks.length)
    const onDelivered = (): Ending | Leave => {
      if (crash) return this.#restart(plan)
      const hasEvent = blocks.some(({ data }) => data !== undefined)
      if (fault && arrives.includes(fault) && hasEvent) this.#begun.add(stream)
      return { how: endings[fault ?? 'end'] ?? 'end', ...(part && { part }) }
    }
    const headers = { 'content-type': 'text/event-stream; charset=utf-8', ...lengthOf(fault, whole, plan) }
    return { headers, steps: deliver(bytes, plan, onDelivered) }
  }

  #restart({ chance }: ConnectionPlan): Leave {
    this.#restarted = true
    this.trace.push('upstream: restarts, and counts from 1')
    return { how: 'leave', away: wholeBetween(1, 100, chance) }
  }
}

interface Sending {
  readonly plan: ConnectionPlan
  readonly fault: Fault | undefined
  readonly stream: string
  /** The first new position, and the position at which the answer starts. */
  readonly next: number
  readonly from: number
}

/** The answer for a fault that sends no event; undefined for other faults. */
function refusalOf(fault: Fault | undefined, { chance }: ConnectionPlan): Answer | undefined {
  switch (fault) {
    case 'refused':
      return { ending: { how: 'leave', away: wholeBetween(1, 100, chance) } }
    case 'blackhole':
      return { ending: { how: 'silence' } }
    case 'no answer':
      return { ending: { how: 'close' } }
    case 'status': {
      const [status, headers] = oneOf(refusals, chance)
      // Some error bodies never end.
      return { status, headers, body: 'not now\n', hangs: chance >= 0.9 }
    }
    case 'html':
      return { status: 200, headers: { 'content-type': 'text/html' }, body: '<p>We will be back.' }
    default:
      return undefined
  }
}

const isCut = (fault: Fault | undefined) =>
  fault !== undefined &&
  ['cut and end', 'cut and reset', 'truncated chunk', 'content-length too short', 'silence'].includes(fault)

/** Faults that lose no sent byte. */
const arrives: readonly Fault[] = ['end', 'cut and end', 'silence', 'content-length too long']

/** The endings of the faults; other faults end cleanly. */
const endings: Partial<Record<Fault, Ending['how']>> = {
  reset: 'reset',
  'cut and reset': 'reset',
  'reset and lose': 'reset at once',
  silence: 'silence',
  'truncated chunk': 'truncated chunk',
  'content-length too long': 'close',
}

/** The first bytes of an event: from one byte to all but the byte that would end the event. */
function cut(writer: Writer, block: Block, { chance }: ConnectionPlan): Buffer {
  const bytes = writer.bytesOf(block)
  // With CRLF the event already ends at the CR of the blank line, the last byte but one.
  const most = bytes.length - (bytes.includes('\r\n\r\n') ? 2 : 1)
  return bytes.subarray(0, chance < 1 ? wholeBetween(1, most, chance) : 1 + ((chance - 1) % most))
}

function lengthOf(fault: Fault | undefined, whole: number, { chance }: ConnectionPlan): OutgoingHttpHeaders {
  if (fault === 'content-length too long') return { 'content-length': whole + 500 }
  if (fault === 'content-length too short') return { 'content-length': wholeBetween(0, whole, chance) }
  return {}
}

function* deliver(
  blocks: readonly Buffer[],
  { delivery, random }: ConnectionPlan,
  onDelivered: () => Ending | Leave,
): Steps {
  if (delivery === 'paced') {
    for (const block of blocks) {
      yield block
      yield wholeBetween(0, 3, random())
    }
    return onDelivered()
  }
  const bytes = Buffer.concat(blocks)
  const most = { whole: bytes.length, pieces: 2000, 'single bytes': bytes.length > 5000 ? 400 : 1 }[delivery]
  for (let at = 0; at < bytes.length; ) {
    const size = wholeBetween(1, most, most === bytes.length ? 0.999_999 : random())
    yield bytes.subarray(at, at + size)
    at += size
    if (most < bytes.length) yield 0
  }
  return onDelivered()
}
