import type http from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { FlickeringServer } from '../../src/demo/flickering-server.ts'
import { oneOf, wholeBetween } from '../../src/demo/random.ts'
import type { Block } from './log.ts'
import type { ConnectionPlan, Fault, Scenario } from './scenario.ts'
import { Writer } from './wire.ts'

type Refusal = readonly [status: number, headers: http.OutgoingHttpHeaders]

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

/** An event stream on a free port that keeps all it has said, and misbehaves as the scenario has it. */
export class HostileUpstream {
  /** What happened, for whoever has to understand a failure. */
  readonly trace: string[] = []
  readonly met = new Map<Fault, number>()
  /** How many attempts, by whomever, there were. */
  requests = 0
  readonly scenario: Scenario
  readonly #server = new FlickeringServer((request, response) => this.#answer(request, response))
  readonly #open = new Map<http.ServerResponse, Socket>()
  /** The last position that was sent to anybody. */
  #frontier = 0
  #restarted = false
  #closed = false
  /** Streams that have got an event for sure: what is wrong with a first answer is for the client to know. */
  readonly #begun = new Set<string>()

  private constructor(scenario: Scenario) {
    this.scenario = scenario
  }

  static async start(scenario: Scenario): Promise<HostileUpstream> {
    const upstream = new HostileUpstream(scenario)
    await upstream.#server.open()
    return upstream
  }

  get url(): string {
    return this.#server.url
  }

  /** Answers that are not over, on either side. */
  get open(): number {
    // One that waits behind another answer is not told that their connection is closed.
    return [...this.#open.values()].filter(({ destroyed }) => !destroyed).length
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#server.close()
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const n = this.requests++
    const plan = this.scenario.connection(n)
    const stream = String(request.headers['x-stream'] ?? '')
    const header = request.headers['last-event-id']
    const asked = header === undefined ? undefined : Buffer.from(String(header), 'latin1').toString()
    const next = this.#positionAfter(asked)
    const fault = plan.fault === 'html' && !this.#begun.has(stream) ? 'status' : plan.fault
    this.trace.push(
      `upstream ${n} for stream ${stream}: asked ${asked?.slice(0, 30)}, so from ${next} of ${this.scenario.log.length}; ` +
        `${fault ?? 'sound'} after ${plan.events}, ${plan.delivery}, ${plan.overlap} early`,
    )
    this.#open.set(response, request.socket)
    response.on('close', () => this.#open.delete(response))
    if (next > this.scenario.log.length) {
      response.writeHead(204).end()
      return
    }
    if (fault) this.met.set(fault, (this.met.get(fault) ?? 0) + 1)
    if (fault && this.#refuses(fault, plan, response)) return
    const early = { exact: 0, overlapping: plan.overlap, ignored: next }[this.scenario.resume]
    const connection = { response, plan, fault, stream, next, from: Math.max(1, next - early) }
    // A client that leaves ends whatever is being written.
    this.#send(connection).catch((error: unknown) => this.trace.push(`upstream ${n}: ${error}`))
  }

  /** The position behind the block with this id; that block again, where others have the same id. */
  #positionAfter(asked: string | undefined): number {
    const { log } = this.scenario
    if (asked === undefined) return 1
    const sent = log.slice(0, this.#frontier)
    const last = sent.findLastIndex(({ id }) => id === asked)
    if (last === log.length - 1) return log.length + 1
    if (last === -1) return 1
    let first = last
    while (first > 0 && sent[first - 1]?.id === asked) first--
    // One that is whole may still be followed by others with its id.
    const shared = first < last || log[last + 1]?.id === asked
    return shared ? first + 1 : last + 2
  }

  /** Whether that was the answer. */
  #refuses(fault: Fault, { chance }: ConnectionPlan, response: http.ServerResponse): boolean {
    switch (fault) {
      case 'refused':
        this.#server.leave(wholeBetween(1, 100, chance))
        return true
      case 'blackhole':
        return true
      case 'no answer':
        response.socket?.destroy()
        return true
      case 'status': {
        const [status, headers] = oneOf(refusals, chance)
        response.writeHead(status, headers)
        // Some never finish saying no.
        if (chance < 0.9) response.end('not now\n')
        else response.write('not now\n')
        return true
      }
      case 'html':
        response.writeHead(200, { 'content-type': 'text/html' }).end('<p>We will be back.')
        return true
      default:
        return false
    }
  }

  async #send({ response, plan, fault, stream, next, from }: Sending): Promise<void> {
    const { log, restart } = this.scenario
    const writer = new Writer(plan.random)
    const end = fault === undefined ? log.length : Math.min(log.length, next - 1 + plan.events)
    const crash = restart !== undefined && !this.#restarted && end >= restart && from <= restart
    const blocks = log.slice(from - 1, crash ? restart : end)
    const bytes = blocks.map((block) => writer.bytesOf(block))
    const following = log[from - 1 + blocks.length]
    const part = following && isCut(fault) && !crash ? cut(writer, following, plan) : Buffer.alloc(0)
    const whole = bytes.reduce((size, { length }) => size + length, 0)
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      ...lengthOf(fault, whole, plan),
    })
    response.flushHeaders()
    this.#frontier = Math.max(this.#frontier, from - 1 + blocks.length)
    await this.#deliver(response, bytes, plan)
    if (crash) {
      this.#restarted = true
      this.trace.push('upstream: restarts, and counts from 1')
      this.#server.leave(wholeBetween(1, 100, plan.chance))
      return
    }
    if (fault && arrives.includes(fault) && blocks.some(({ data }) => data !== undefined))
      this.#begun.add(stream)
    await misbehave(response, fault, part)
  }

  async #deliver(response: http.ServerResponse, blocks: Buffer[], { delivery, random }: ConnectionPlan) {
    const write = async (bytes: Buffer) => {
      if (response.destroyed || this.#closed) throw new Error('the client left')
      if (!response.write(bytes)) await drained(response)
    }
    if (delivery === 'paced') {
      for (const block of blocks) {
        await write(block)
        await sleep(wholeBetween(0, 3, random()))
      }
      return
    }
    const bytes = Buffer.concat(blocks)
    const most = { whole: bytes.length, pieces: 2000, 'single bytes': bytes.length > 5000 ? 400 : 1 }[
      delivery
    ]
    for (let at = 0; at < bytes.length; ) {
      const size = wholeBetween(1, most, most === bytes.length ? 0.999_999 : random())
      await write(bytes.subarray(at, at + size))
      at += size
      if (most < bytes.length) await nextTurn()
    }
  }
}

interface Sending {
  readonly response: http.ServerResponse
  readonly plan: ConnectionPlan
  readonly fault: Fault | undefined
  readonly stream: string
  /** The first position that is new, and the one at which it starts. */
  readonly next: number
  readonly from: number
}

const isCut = (fault: Fault | undefined) =>
  fault !== undefined &&
  ['cut and end', 'cut and reset', 'truncated chunk', 'content-length too short', 'silence'].includes(fault)

/** Faults in front of which everything that was sent arrives. */
const arrives: readonly Fault[] = ['end', 'cut and end', 'silence', 'content-length too long']

/** A part of an event and no more: from one byte to all but the one that would end it. */
function cut(writer: Writer, block: Block, { chance }: ConnectionPlan): Buffer {
  const bytes = writer.bytesOf(block)
  // What ends it is two bytes with LF or CR, and three that suffice of the four with CRLF.
  const most = bytes.length - (bytes.includes('\r\n\r\n') ? 2 : 1)
  return bytes.subarray(0, chance < 1 ? wholeBetween(1, most, chance) : 1 + ((chance - 1) % most))
}

function lengthOf(
  fault: Fault | undefined,
  whole: number,
  { chance }: ConnectionPlan,
): http.OutgoingHttpHeaders {
  if (fault === 'content-length too long') return { 'content-length': whole + 500 }
  if (fault === 'content-length too short') return { 'content-length': wholeBetween(0, whole, chance) }
  return {}
}

async function misbehave(
  response: http.ServerResponse,
  fault: Fault | undefined,
  part: Buffer,
): Promise<void> {
  const { socket } = response
  switch (fault) {
    case 'reset and lose':
      socket?.resetAndDestroy()
      return
    case 'silence':
      // The socket stays open until the other side has had enough of it.
      response.write(part)
      return
    case 'truncated chunk':
      await flushed(response)
      socket?.write(`ffff\r\n${part.toString('latin1')}`, 'latin1', () => socket.destroy())
      return
    case 'content-length too long':
      await flushed(response)
      socket?.end()
      return
    case 'reset':
    case 'cut and reset':
      response.write(part)
      await flushed(response)
      await nextTurn()
      socket?.resetAndDestroy()
      return
    default:
      response.end(part)
  }
}

/** Waits until there is room, or the other side has left. */
function drained(response: http.ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}

/** Waits until the socket has taken everything, or is gone. */
async function flushed(response: http.ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    response.once('close', resolve)
    response.write('', () => resolve())
  })
}
