import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type EndEntry,
  type Entry,
  type EventsEntry,
  endSeq,
  type OpenResult,
  type Position,
  positionOf,
  type StreamStore,
} from '../store.ts'

/** One test of a store. */
export interface StoreCase {
  readonly title: string
  run(bench: Bench): Promise<void>
}

export type Opened = Extract<OpenResult, { readonly state: 'open' }>

/** A lease, or a time to keep a log, that does not run out during a test, in milliseconds. */
export const long = 600_000
/** A lease, or a time to keep a log, that a test waits for, in milliseconds. */
export const short = 40

const pollInterval = 10

/** What the tests of a store share: the store, and the calls that a test needs besides those that it is about. */
export class Bench {
  readonly store: StreamStore
  /** Seeds what is random in a test. */
  readonly seed: number
  /** How long a test waits for what a store does later, in milliseconds. */
  readonly #patience: number

  constructor(store: StreamStore, seed: number, patience: number) {
    this.store = store
    this.seed = seed
    this.#patience = patience
  }

  /** A name that no other test uses, also in a store that other processes test. */
  name(): string {
    return `store-test:${randomUUID()}`
  }

  /** Opens a stream, and expects that no other owner holds the lease. */
  async open(stream: string, owner: string, lease = long, keepFor = long): Promise<Opened> {
    const result = await this.store.open(stream, owner, { lease, keepFor })
    assert.equal(result.state, 'open', `${owner} opens the stream`)
    assert.ok(result.state === 'open')
    return result
  }

  /** Opens a stream as soon as the lease of another owner has run out, or the log of an ended stream is no longer kept. */
  takeOver(stream: string, owner: string, lease = long, keepFor = long): Promise<Opened> {
    return this.poll(`${owner} can open the stream`, async () => {
      const result = await this.store.open(stream, owner, { lease, keepFor })
      if (result.state === 'open') return result
      // Not the whole time at once: the other owner may give its lease up.
      if (result.state === 'held') await delay(Math.min(result.retryAfter, 100))
      return undefined
    })
  }

  /** Waits for a time to pass on the clock of the store: for a lease that begins after this call. */
  async pass(time: number): Promise<void> {
    const clock = this.name()
    await this.open(clock, 'first', time, 1)
    await this.takeOver(clock, 'second', 1, 1)
  }

  async isHeld(stream: string, owner = 'another owner'): Promise<void> {
    const { state } = await this.store.open(stream, owner, { lease: long, keepFor: long })
    assert.equal(state, 'held', `${owner} cannot open the stream`)
  }

  /** Expects that an owner gets and changes nothing with a call for another lease. */
  async isNotHeldBy(stream: string, owner: string, lease: number): Promise<void> {
    const { held } = await this.store.renew(stream, owner, lease, lease)
    assert.equal(held, false, `${owner} does not have the lease`)
  }

  async append(stream: string, entry: EventsEntry | EndEntry, trimBefore?: Position): Promise<void> {
    assert.equal(await this.store.append(stream, entry, trimBefore), 'stored', 'the entry is stored')
  }

  async isFenced(stream: string, entry: EventsEntry | EndEntry, trimBefore?: Position): Promise<void> {
    assert.equal(await this.store.append(stream, entry, trimBefore), 'fenced', 'the append is refused')
  }

  giveUp(stream: string, owner: string, keepFor = long) {
    return this.store.renew(stream, owner, 0, keepFor)
  }

  /** Every entry of a log, read in as many calls as are needed. */
  async all(stream: string, limit = 65_536): Promise<Entry[]> {
    const all: Entry[] = []
    let from: Position | 'first' = 'first'
    for (;;) {
      const entries: readonly Entry[] = await this.store.read(stream, from, limit)
      const last = entries.at(-1)
      if (last === undefined) return all
      all.push(...entries)
      const { epoch, seq } = positionOf(last)
      from = { epoch, seq: seq + 1 }
    }
  }

  /** Expects that a log has these entries and no others. */
  async has(stream: string, entries: readonly Entry[]): Promise<void> {
    sameEntries(await this.all(stream), entries)
  }

  /** Waits until a log is no longer kept. */
  isGone(stream: string): Promise<true> {
    return this.poll('the log is removed', async () => {
      const entries = await this.store.read(stream, 'last', 1)
      return entries.length === 0 ? true : undefined
    })
  }

  /** Repeats an attempt until it gives a result. */
  async poll<T>(what: string, attempt: () => Promise<T | undefined>): Promise<T> {
    const end = performance.now() + this.#patience
    for (;;) {
      const result = await attempt()
      if (result !== undefined) return result
      if (performance.now() > end) assert.fail(`not within ${this.#patience} ms: ${what}`)
      await delay(pollInterval)
    }
  }
}

/** An entry with events. */
export function events(epoch: number, first: number, last = first, bytes?: Buffer): EventsEntry {
  const text = `id: ${epoch}-${first}\ndata: events ${first} to ${last}\n\n`
  const cursor = String(last)
  return { kind: 'events', epoch, at: Date.now(), first, last, bytes: bytes ?? Buffer.from(text), cursor }
}

/** The entry that ends a stream. */
export function end(epoch: number, previous: Position, fields: Partial<EndEntry> = {}): EndEntry {
  const none = { code: undefined, status: undefined, fields: undefined, body: undefined, reason: undefined }
  return { kind: 'end', epoch, at: Date.now(), how: 'ended', previous, ...none, ...fields }
}

/** The place after the last entry of an epoch that has ended. */
export const afterEnd = (epoch: number): Position => ({ epoch, seq: endSeq + 1 })

/** Expects the same entries, field for field. A field that is undefined may be missing. */
export function sameEntries(actual: readonly Entry[], expected: readonly Entry[]): void {
  assert.deepEqual(actual.map(shownEntry), expected.map(shownEntry))
}

/** Every field of an entry, for a comparison and its message. */
function shownEntry(entry: Entry): object {
  const { kind, epoch, at } = entry
  if (kind === 'events') {
    const { first, last, bytes, cursor, gap = false } = entry
    assert.ok(Buffer.isBuffer(bytes), 'the bytes of an entry are a Buffer')
    return { kind, epoch, at, first, last, bytes: bytes.toString('latin1'), cursor, gap }
  }
  const { previous } = entry
  const place = previous && { epoch: previous.epoch, seq: previous.seq }
  if (kind === 'open') return { kind, epoch, at, previous: place }
  const { how, code, status, fields, body, reason } = entry
  const text = body?.toString('latin1')
  return { kind, epoch, at, previous: place, how, code, status, fields, body: text, reason }
}
