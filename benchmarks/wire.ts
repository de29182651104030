import { now } from './answering.ts'

// What upstream and client agree on: an event of a given size that holds its id twice, as its `id` and at its data's end.
const digits = 9
const idLine = `id: ${'0'.repeat(digits)}\n`
const fields = 'event: token\ndata: '
const opening = '{"delta":"'
const tail = `","n":${'0'.repeat(digits)}}\n\n`
/** Digits of a time in microseconds. */
const stampDigits = 15
const stamp = `","at":${'0'.repeat(stampDigits)}`
const idAt = 4
const ZERO = 48
const COLON = 58
const LF = 10

/** Where the id stands for the second time, from an event's end. */
const tailIdAt = digits + 3
/** Where the time stands, from an event's end: the tail of an event with a time has no quotation mark of its own. */
const stampAt = stampDigits + tail.length - 1

/** What the two connections of a relay speak. */
export interface Transport {
  readonly upstream: 'http' | 'https'
  /** `http2` is over TLS, with a connection for each stream. */
  readonly client: 'http' | 'https' | 'http2'
}

export const plainText: Transport = { upstream: 'http', client: 'http' }

/** The body of an answer that is not an event stream, with so many bytes. */
export function jsonOf(bytes: number): Buffer {
  const around = '{"text":""}'
  return Buffer.from(`{"text":"${'x'.repeat(Math.max(0, bytes - around.length))}"}`, 'latin1')
}

/** How an upstream sends. */
export interface Plan {
  /** Bytes of each event on the wire. */
  readonly eventSize: number
  /**
   * After an event with which each stream begins: nothing; one event on all streams at once, and the next one as soon as they
   * have all arrived; one event on each stream every so many milliseconds, the streams evenly out of step; or writes of as
   * many events as fit into so many bytes, as fast as they are taken.
   */
  readonly pace: 'quiet' | 'in step' | { readonly every: number } | { readonly writeSize: number }
  /** How many events up to the Last-Event-ID are sent again. */
  readonly replay?: number
  /** The reconnection time that it asks for, in milliseconds. */
  readonly retry?: number
  /** Each request is answered with JSON of so many bytes instead. */
  readonly json?: number
  /** Whether events have no `id` field, as those of most language models. */
  readonly withoutIds?: boolean
  /** Whether each event holds the time at which it was sent. */
  readonly stamped?: boolean
}

/** Bytes of an event's data, which come through every relay unchanged. */
export function dataSizeOf({ eventSize, withoutIds = false }: Plan): number {
  return eventSize - (withoutIds ? 0 : idLine.length) - fields.length - 2
}

/** Makes the bytes of consecutive events. */
export class EventWriter {
  readonly #eventSize: number
  readonly #withoutIds: boolean
  readonly #stamped: boolean
  #template: Buffer

  constructor({ eventSize, withoutIds = false, stamped = false }: Omit<Plan, 'pace'>) {
    this.#eventSize = eventSize
    this.#withoutIds = withoutIds
    this.#stamped = stamped
    const head = (withoutIds ? '' : idLine) + fields + opening
    const end = stamped ? stamp + tail.slice(1) : tail
    const filler = 'and so on, word by word, '
    const room = eventSize - head.length - end.length
    const event = head + filler.repeat(Math.ceil(room / filler.length)).slice(0, room) + end
    this.#template = Buffer.from(event, 'latin1')
  }

  write(firstId: number, count: number): Buffer {
    const size = this.#eventSize
    while (this.#template.length < size * count) {
      this.#template = Buffer.concat([this.#template, this.#template])
    }
    const bytes = Buffer.from(this.#template.subarray(0, size * count))
    for (let n = 0; n < count; n++) {
      if (!this.#withoutIds) writeNumber(bytes, n * size + idAt, firstId + n)
      writeNumber(bytes, (n + 1) * size - tailIdAt, firstId + n)
      if (this.#stamped) writeNumber(bytes, (n + 1) * size - stampAt, Math.round(now() * 1000), stampDigits)
    }
    return bytes
  }
}

/** Checks that the events of one stream arrive once each, in order, and whole. */
export class EventChecker {
  /** The id of the latest whole event. */
  last = 0
  readonly #eventSize: number
  #rest: Buffer | undefined

  constructor(eventSize: number) {
    this.#eventSize = eventSize
  }

  /** @returns how many events became whole. */
  read(chunk: Buffer): number {
    const size = this.#eventSize
    const before = this.last
    const bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk
    let at = 0
    while (at < bytes.length) {
      // A comment ends with its line; some relays send a blank line behind it.
      if (bytes[at] === COLON || bytes[at] === LF) {
        const end = bytes.indexOf(LF, at)
        if (end === -1) break
        at = end + 1
        continue
      }
      if (bytes.length - at < size) break
      this.#check(bytes, at)
      at += size
      this.last++
    }
    this.#rest = at < bytes.length ? bytes.subarray(at) : undefined
    return this.last - before
  }

  #check(bytes: Buffer, at: number): void {
    const end = at + this.#eventSize
    const id = readNumber(bytes, at + idAt)
    const whole =
      bytes[at + idAt - 2] === COLON &&
      bytes[end - 2] === LF &&
      bytes[end - 1] === LF &&
      readNumber(bytes, end - tailIdAt) === id
    if (whole && id === this.last + 1) return
    const seen = bytes.toString('latin1', at, Math.min(end, at + 60))
    throw new Error(`expected event ${this.last + 1}, got ${JSON.stringify(seen)}`)
  }
}

function writeNumber(bytes: Buffer, at: number, number: number, length = digits): void {
  let left = number
  for (let place = at + length - 1; place >= at; place--) {
    const next = Math.floor(left / 10)
    bytes[place] = ZERO + left - next * 10
    left = next
  }
}

/** The id at the data's end of an event that ends here. */
export function tailIdOf(bytes: Buffer, end: number): number {
  return readNumber(bytes, end - tailIdAt)
}

/** When an event that ends here was sent, in milliseconds of the clock that all processes share. */
export function sentAtOf(bytes: Buffer, end: number): number {
  return readNumber(bytes, end - stampAt, stampDigits) / 1000
}

function readNumber(bytes: Buffer, at: number, length = digits): number {
  let number = 0
  for (let place = at; place < at + length; place++) number = number * 10 + (bytes[place] ?? 0) - ZERO
  return number
}
