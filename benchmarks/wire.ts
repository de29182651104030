// What upstream and client agree on: an event of a given size that holds its id twice, as its `id` and at its data's end.
const digits = 9
const idLine = `id: ${'0'.repeat(digits)}\n`
const fields = 'event: token\ndata: '
const opening = '{"delta":"'
const tail = `","n":${'0'.repeat(digits)}}\n\n`
const idAt = 4
const ZERO = 48
const COLON = 58
const LF = 10

/** Where the id stands for the second time, from an event's end. */
const tailIdAt = digits + 3

/** How an upstream sends. */
export interface Plan {
  /** Bytes of each event on the wire. */
  readonly eventSize: number
  /**
   * After an event with which each stream begins: nothing; one event on each stream every so many milliseconds, the
   * streams evenly out of step; or writes of as many events as fit into so many bytes, as fast as they are taken.
   */
  readonly pace: 'quiet' | { readonly every: number } | { readonly writeSize: number }
  /** How many events up to the Last-Event-ID are sent again. */
  readonly replay?: number
  /** The reconnection time that it asks for, in milliseconds. */
  readonly retry?: number
  /** Whether events have no `id` field, as those of most language models. */
  readonly withoutIds?: boolean
}

/** Bytes of an event's data, which come through every relay unchanged. */
export function dataSizeOf({ eventSize, withoutIds = false }: Plan): number {
  return eventSize - (withoutIds ? 0 : idLine.length) - fields.length - 2
}

/** Makes the bytes of consecutive events. */
export class EventWriter {
  readonly #eventSize: number
  readonly #withoutIds: boolean
  #template: Buffer

  constructor({ eventSize, withoutIds = false }: Pick<Plan, 'eventSize' | 'withoutIds'>) {
    this.#eventSize = eventSize
    this.#withoutIds = withoutIds
    const head = (withoutIds ? '' : idLine) + fields + opening
    const filler = 'and so on, word by word, '
    const room = eventSize - head.length - tail.length
    const event = head + filler.repeat(Math.ceil(room / filler.length)).slice(0, room) + tail
    this.#template = Buffer.from(event, 'latin1')
  }

  write(firstId: number, count: number): Buffer {
    const size = this.#eventSize
    while (this.#template.length < size * count) {
      this.#template = Buffer.concat([this.#template, this.#template])
    }
    const bytes = Buffer.from(this.#template.subarray(0, size * count))
    for (let n = 0; n < count; n++) {
      if (!this.#withoutIds) writeId(bytes, n * size + idAt, firstId + n)
      writeId(bytes, (n + 1) * size - tailIdAt, firstId + n)
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
      if (bytes[at] === COLON) {
        const end = bytes.indexOf('\n\n', at)
        if (end === -1) break
        at = end + 2
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
    const id = readId(bytes, at + idAt)
    const whole =
      bytes[at + idAt - 2] === COLON &&
      bytes[end - 2] === LF &&
      bytes[end - 1] === LF &&
      readId(bytes, end - tailIdAt) === id
    if (whole && id === this.last + 1) return
    const seen = bytes.toString('latin1', at, Math.min(end, at + 60))
    throw new Error(`expected event ${this.last + 1}, got ${JSON.stringify(seen)}`)
  }
}

function writeId(bytes: Buffer, at: number, id: number): void {
  let left = id
  for (let place = at + digits - 1; place >= at; place--) {
    const next = Math.floor(left / 10)
    bytes[place] = ZERO + left - next * 10
    left = next
  }
}

/** The id at the data's end of an event that ends here. */
export function tailIdOf(bytes: Buffer, end: number): number {
  return readId(bytes, end - tailIdAt)
}

function readId(bytes: Buffer, at: number): number {
  let id = 0
  for (let place = at; place < at + digits; place++) id = id * 10 + (bytes[place] ?? 0) - ZERO
  return id
}
