import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import fc from 'fast-check'
import { Log } from '../../src/hub/log.ts'
import { memoryStore } from '../../src/hub/memory-store.ts'
import { findPlace } from '../../src/hub/place.ts'
import { formatId } from '../../src/hub/position-id.ts'
import { Reader } from '../../src/hub/reader.ts'
import { Retention } from '../../src/hub/retention.ts'
import type { EventsEntry, Position } from '../../src/hub/store.ts'
import { StoreAccess } from '../../src/hub/store-access.ts'
import { LogModel, type Taken } from '../support/log-model.ts'

type Step =
  /** The sizes of the events of one entry. */
  | { readonly append: readonly number[] }
  /** Where a reader starts, and what its consumer answers to each write. */
  | { readonly read: 'live' | 'start' | 'junk' | number; readonly room: readonly boolean[] }
  | { readonly resume: number }
  | 'open'
  | 'turn'
  | 'flush'
  | 'drop pages'

interface Plan {
  /** Whether the log is the owner's, which is told of each entry, or that of another process, which reads the store. */
  readonly isOwner: boolean
  readonly windowBytes: number
  readonly limits: { readonly events: number; readonly bytes: number; readonly age: undefined }
  readonly steps: readonly Step[]
  readonly ends: boolean
}

const size = fc.oneof(
  { arbitrary: fc.nat(60), weight: 20 },
  { arbitrary: fc.constantFrom(30_000, 65_536, 70_000), weight: 1 },
)
const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: fc.record({ append: fc.array(size, { minLength: 1, maxLength: 4 }) }), weight: 8 },
  {
    arbitrary: fc.record({
      read: fc.oneof(fc.constantFrom('live' as const, 'start' as const, 'junk' as const), fc.nat(60)),
      room: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
    }),
    weight: 3,
  },
  { arbitrary: fc.record({ resume: fc.nat(5) }), weight: 2 },
  { arbitrary: fc.constantFrom<Step[]>('open', 'turn', 'turn', 'flush', 'drop pages'), weight: 4 },
)
const plan: fc.Arbitrary<Plan> = fc.record({
  isOwner: fc.boolean(),
  windowBytes: fc.constantFrom(0, 100, 400, 100_000),
  limits: fc.record({
    events: fc.constantFrom(3, 10, 1000),
    bytes: fc.constantFrom(200, 1000, 1_000_000),
    age: fc.constant(undefined),
  }),
  steps: fc.array(step, { maxLength: 60, size: 'max' }),
  ends: fc.boolean(),
})

const stream = 's'
const lease = { lease: 60_000, keepFor: 60_000 }

/** A shared log in a store, its model, and readers of both. */
class Course {
  readonly #plan: Plan
  readonly #store = memoryStore()
  readonly #access = new StoreAccess(1000)
  readonly #log: Log
  readonly #retention: Retention
  readonly #model = new LogModel()
  readonly #readers: { reader: Reader; taken: Taken[]; start: number; ends: number }[] = []
  #epoch = 0
  #seq = 0

  constructor(plan: Plan) {
    this.#plan = plan
    this.#log = new Log(this.#store, this.#access, stream, plan.windowBytes)
    this.#retention = new Retention(plan.limits)
  }

  async run(): Promise<void> {
    await this.#open()
    for (const step of this.#plan.steps) await this.#take(step)
    if (this.#plan.ends) await this.#end()
    await this.#settle()
    for (const { taken, start, ends } of this.#readers) {
      expect(this.#model.faultIn(taken, start)).to.equal(undefined)
      expect(ends).to.equal(this.#plan.ends ? 1 : 0)
    }
    this.#log.close()
  }

  async #take(step: Step): Promise<void> {
    if (step === 'open') await this.#open()
    else if (step === 'turn') await nextTurn()
    else if (step === 'flush') this.#log.flush()
    else if (step === 'drop pages') this.#log.dropPages()
    else if ('append' in step) await this.#append(step.append)
    else if ('read' in step) await this.#read(step.read, step.room)
    else this.#readers[step.resume % Math.max(1, this.#readers.length)]?.reader.resume()
  }

  async #open(): Promise<void> {
    const result = await this.#store.open(stream, `owner of ${this.#epoch}`, lease)
    if (result.state !== 'open') throw new Error(result.state)
    await this.#store.renew(stream, `owner of ${this.#epoch}`, 0, lease.keepFor)
    this.#epoch = result.epoch
    this.#seq = 0
    await this.#log.sync()
  }

  async #append(sizes: readonly number[]): Promise<void> {
    const first = this.#seq + 1
    let text = ''
    for (const size of sizes) {
      const position = { epoch: this.#epoch, seq: ++this.#seq }
      text += `id: ${formatId(position, undefined)}\ndata: ${'x'.repeat(size)}\n\n`
      this.#model.add(position)
    }
    const entry: EventsEntry = {
      kind: 'events',
      epoch: this.#epoch,
      at: 0,
      first,
      last: this.#seq,
      bytes: Buffer.from(text),
      cursor: undefined,
    }
    const trimBefore = this.#retention.add(entry)
    // Before the call: a reader may find entries removed as soon as the store has them.
    if (trimBefore) this.#model.trim(trimBefore)
    expect(await this.#store.append(stream, entry, trimBefore)).to.equal('stored')
    if (this.#plan.isOwner) this.#log.accept(entry)
    else if (this.#seq % 2 === 0) await this.#log.sync()
  }

  async #end(): Promise<void> {
    const previous = { epoch: this.#epoch, seq: this.#seq }
    const none = { code: undefined, status: undefined, fields: undefined, body: undefined, reason: undefined }
    await this.#store.append(stream, {
      kind: 'end',
      epoch: this.#epoch,
      at: 0,
      how: 'ended',
      previous,
      ...none,
    })
  }

  /** Starts a reader as a client starts: at the latest or the oldest event, or with an id. */
  async #read(from: 'live' | 'start' | 'junk' | number, room: readonly boolean[]): Promise<void> {
    if (!this.#plan.isOwner) await this.#log.sync()
    this.#log.flush()
    const { events } = this.#model
    const known = typeof from === 'number' ? events[from % Math.max(1, events.length)] : undefined
    if (typeof from === 'number' && known === undefined) return
    const lastEventId = known ? formatId(known, 'cursor') : from === 'junk' ? 'junk' : ''
    const request = { lastEventId, from: from === 'start' ? from : 'live' } as const
    const place = await findPlace(request, this.#log, async (position) => {
      const [entry] = await this.#store.read(stream, position, 1)
      return entry
    })
    const taken: Taken[] = place.gap ? ['gap'] : []
    const start = known ? this.#model.after(known) : from === 'live' ? this.#model.after(place.after) : 0
    if (from === 'live') expect(this.#model.after(place.after)).to.equal(events.length)
    const course = { taken, start, ends: 0 }
    let writes = 0
    const reader = new Reader(this.#log, place.after, {
      onEvents(bytes) {
        for (const [, epoch, seq] of bytes.toString().matchAll(/^id: (\d+)-(\d+)$/gm)) {
          taken.push({ epoch: Number(epoch), seq: Number(seq) } satisfies Position)
        }
        return room[writes++ % room.length] ?? true
      },
      onUpstreamGap: () => {},
      onGap: () => taken.push('gap'),
      onEnd: () => course.ends++,
      onFailure(error) {
        throw error
      },
    })
    this.#readers.push(Object.assign(course, { reader }))
    reader.read()
  }

  /** Waits until every reader has had everything. */
  async #settle(): Promise<void> {
    await this.#log.sync()
    this.#log.flush()
    let before = -1
    for (let quiet = 0; quiet < 3; ) {
      for (const { reader } of this.#readers) reader.resume()
      await nextTurn()
      const now = this.#readers.reduce((sum, { taken, ends }) => sum + taken.length + ends, 0)
      quiet = now === before && !this.#readers.some(({ reader }) => reader.isBehind) ? quiet + 1 : 0
      before = now
    }
  }
}

export const sharedLogs = fc.asyncProperty(plan, (plan) => new Course(plan).run())
