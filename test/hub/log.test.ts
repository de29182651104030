import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { Log } from '../../src/hub/log.ts'
import { Reader } from '../../src/hub/reader.ts'
import type { EndEntry, EventsEntry, Position } from '../../src/hub/store.ts'
import { StoreAccess } from '../../src/hub/store-access.ts'
import { memoryStore, type StreamStore } from '../../src/index.ts'
import { faultyStore } from '../support/store.ts'
import { until } from '../support/until.ts'

const name = 's'

/** A log of one process, an owner elsewhere, and readers that note what they are given. */
async function course(windowBytes: number) {
  const store = memoryStore()
  const opened = await store.open(name, 'owner', { lease: 60_000, keepFor: 60_000 })
  if (opened.state !== 'open') throw new Error(opened.state)
  const log = new Log(store, new StoreAccess(1000), name, windowBytes)
  return { store, log, epoch: opened.epoch, add: adder(store, opened.epoch) }
}

/** Appends one event of a text to the store. */
function adder(store: StreamStore, epoch: number) {
  let seq = 0
  return async (text: string, trimBefore?: number, gap?: boolean): Promise<EventsEntry> => {
    seq++
    const bytes = Buffer.from(`id: ${epoch}-${seq}\ndata: ${text}\n\n`)
    const entry: EventsEntry = {
      kind: 'events',
      epoch,
      at: 0,
      first: seq,
      last: seq,
      bytes,
      cursor: `${seq}`,
      gap,
    }
    await store.append(name, entry, trimBefore === undefined ? undefined : { epoch, seq: trimBefore })
    return entry
  }
}

class Taker {
  readonly taken: string[] = []
  readonly buffers: Buffer[] = []
  hasRoom = true
  onTake = () => {}
  readonly reader: Reader

  constructor(log: Log, after: Position) {
    this.reader = new Reader(log, after, this)
    this.reader.read()
  }

  onEvents(bytes: Buffer): boolean {
    this.buffers.push(bytes)
    for (const [, data] of bytes.toString().matchAll(/^data: (.*)$/gm)) this.taken.push(data ?? '')
    this.onTake()
    return this.hasRoom
  }

  onGap(reason: string): void {
    this.taken.push(`gap: ${reason}`)
  }

  onUpstreamGap(): void {
    this.taken.push('gap')
  }

  onEnd({ how }: EndEntry): void {
    this.taken.push(how)
  }

  onFailure(error: Error): void {
    this.taken.push(error.message)
  }

  async has(...taken: string[]): Promise<void> {
    await until(
      () => this.taken.length >= taken.length,
      () => `${taken} and not ${this.taken}`,
    )
    await nextTurn()
    expect(this.taken).to.deep.equal(taken)
  }
}

describe('the log of a shared stream', () => {
  it('gives its latest events once a turn, joined, in one buffer for all readers', async () => {
    const { log, epoch, add } = await course(1000)
    await log.sync()
    const taker = new Taker(log, { epoch, seq: 0 })
    let writes = 0
    taker.onTake = () => {
      writes++
    }
    const other = new Taker(log, { epoch, seq: 0 })
    log.accept(await add('a'))
    log.accept(await add('b'))
    for (const each of [taker, other]) await each.has('a', 'b')
    expect(writes).to.equal(1)
    // Of one entry and of several, live readers get the same buffer, and so do those that read the page later.
    log.accept(await add('c'))
    for (const each of [taker, other]) await each.has('a', 'b', 'c')
    const late = [new Taker(log, { epoch, seq: 0 }), new Taker(log, { epoch, seq: 0 })]
    for (const [one, another] of [[taker, other], late])
      for (const [n, bytes] of (one?.buffers ?? []).entries())
        expect(another?.buffers[n] === bytes).to.equal(true)
    log.close()
  })

  for (const [where, windowBytes] of [
    ['in memory', 1000],
    ['in the store', 0],
  ] as const) {
    it(`tells each reader once of a gap of the upstream, at its place, where the events are ${where}`, async () => {
      const { log, epoch, add } = await course(windowBytes)
      await log.sync()
      const live = new Taker(log, { epoch, seq: 0 })
      for (const [text, gap] of [
        ['a', false],
        ['b', true],
        ['c', true],
        ['d', false],
      ] as const)
        log.accept(await add(text, undefined, gap))
      const all = ['a', 'gap', 'b', 'gap', 'c', 'd']
      await live.has(...all)
      for (const [seq, taken] of [
        [0, all],
        [1, all.slice(1)],
        [2, all.slice(3)],
        [3, ['d']],
      ] as const)
        await new Taker(log, { epoch, seq }).has(...taken)
      log.close()
    })
  }

  it('gives a few pages to one live reader before the next one gets them, and all pages in the end', async () => {
    const { log, epoch, add } = await course(10_000_000)
    await log.sync()
    const order: string[] = []
    const takers = ['one', 'two'].map((reader) => {
      const taker = new Taker(log, { epoch, seq: 0 })
      taker.onTake = () => order.push(`${reader} ${taker.taken.length}`)
      return taker
    })
    const texts = Array.from({ length: 6 }, (_, n) => `${n}`.padEnd(40_000, 'x'))
    for (const text of texts) log.accept(await add(text))
    for (const taker of takers) await taker.has(...texts)
    const round = (...counts: number[]) => ['one', 'two'].flatMap((name) => counts.map((n) => `${name} ${n}`))
    expect(order).to.deep.equal([...round(1, 2, 3, 4), ...round(5, 6)])
    log.close()
  })

  it('stops at the first page that a reader cannot take, while others get all pages of the turn', async () => {
    const { log, epoch, add } = await course(10_000_000)
    await log.sync()
    const [full, other] = [new Taker(log, { epoch, seq: 0 }), new Taker(log, { epoch, seq: 0 })]
    full.hasRoom = false
    const texts = Array.from({ length: 3 }, (_, n) => `${n}`.padEnd(40_000, 'x'))
    for (const text of texts) log.accept(await add(text))
    await other.has(...texts)
    expect(full.taken).to.deep.equal(texts.slice(0, 1))
    full.hasRoom = true
    full.reader.resume()
    await full.has(...texts)
    log.close()
  })

  it('gives a reader that loads a page which this process has not read yet each event once', async () => {
    const { log, epoch, add } = await course(0)
    await add('a')
    await add('b')
    await log.sync()
    log.flush()
    await add('c')
    const taker = new Taker(log, { epoch, seq: 0 })
    await taker.has('a', 'b', 'c')
    await add('d')
    await log.sync()
    await taker.has('a', 'b', 'c', 'd')
    log.close()
  })

  it('reads on for each call, also for one that comes when the read before it is about to end', async () => {
    for (let delay = 0; delay < 30; delay++) {
      const { log, add } = await course(0)
      const running = log.sync()
      for (let turn = 0; turn < delay; turn++) await Promise.resolve()
      const entry = await add('a')
      await log.sync()
      expect(log.tail, `after ${delay} microtasks`).to.deep.equal(entry)
      await running
      log.close()
    }
  })

  it('reads every page up to an entry that it was told of, and no further', async () => {
    const { log, epoch, add } = await course(0)
    await log.sync()
    for (const text of 'abcd') await add(text.padEnd(60_000, '-'))
    await log.sync({ epoch, seq: 3 })
    expect(log.lacks({ epoch, seq: 3 })).to.equal(false)
    expect(log.lacks({ epoch, seq: 4 })).to.equal(true)
    log.close()
  })

  it('waits for no entry that it was told of and that the store has lost', async () => {
    const { log, epoch, add } = await course(0)
    await log.sync()
    const entry = await add('a')
    await log.sync({ epoch, seq: 5 })
    expect(log.tail).to.deep.equal(entry)
    log.close()
  })

  it('tells a reader of the events that the store has removed, and goes on with the oldest', async () => {
    const { log, epoch, add } = await course(0)
    for (const text of ['a', 'b', 'c']) await add(text)
    await add('d', 3)
    await log.sync()
    log.flush()
    const taker = new Taker(log, { epoch, seq: 0 })
    await taker.has('gap: trimmed', 'c', 'd')
    log.close()
  })

  it('tells live readers of the events that are missing when the log was lost', async () => {
    const { store, log, epoch, add } = await course(1000)
    log.accept(await add('a'))
    await log.sync()
    log.flush()
    const taker = new Taker(log, { epoch, seq: 1 })
    await store.renew(name, 'owner', 0, 0)
    const again = await store.open(name, 'other', { lease: 60_000, keepFor: 60_000 })
    if (again.state !== 'open') throw new Error(again.state)
    await adder(store, again.epoch)('b')
    await log.sync()
    await taker.has('gap: trimmed', 'b')
    log.close()
  })

  it('gives the end after the events before it, to readers that are live, full or behind', async () => {
    const { store, log, epoch, add } = await course(0)
    await add('a')
    await log.sync()
    log.flush()
    const live = new Taker(log, { epoch, seq: 1 })
    const full = new Taker(log, { epoch, seq: 1 })
    full.hasRoom = false
    const behind = new Taker(log, { epoch, seq: 0 })
    await add('b')
    const none = { code: undefined, status: undefined, fields: undefined, body: undefined, reason: undefined }
    const previous = { epoch, seq: 2 }
    await store.append(name, { kind: 'end', epoch, at: 0, how: 'ended', previous, ...none })
    await log.sync()
    await live.has('b', 'ended')
    await behind.has('a', 'b', 'ended')
    await full.has('b')
    expect(full.reader.isBehind).to.equal(true)
    full.reader.resume()
    await full.has('b', 'ended')
    expect(live.reader.position).to.deep.equal({ epoch, seq: 2 })
    log.close()
  })

  it('gives a live reader that another one closes no event, and keeps the place of its last one', async () => {
    const { log, epoch, add } = await course(1000)
    await log.sync()
    log.flush()
    const [first, second] = [new Taker(log, { epoch, seq: 0 }), new Taker(log, { epoch, seq: 0 })]
    log.accept(await add('a'))
    await first.has('a')
    await second.has('a')
    first.onTake = () => second.reader.close()
    log.accept(await add('b'))
    await first.has('a', 'b')
    expect(second.taken).to.deep.equal(['a'])
    expect(second.reader.position).to.deep.equal({ epoch, seq: 1 })
    expect(first.reader.position).to.deep.equal({ epoch, seq: 2 })
    log.close()
  })

  it('starts no closed reader again when events are missing', async () => {
    const { store, log, epoch, add } = await course(1000)
    log.accept(await add('a'))
    await log.sync()
    log.flush()
    const taker = new Taker(log, { epoch, seq: 1 })
    taker.reader.close()
    taker.reader.onMissing({ epoch, seq: 0 })
    taker.reader.resume()
    await nextTurn()
    expect(taker.taken).to.deep.equal([])
    await store.renew(name, 'owner', 0, 0)
    log.close()
  })

  it('fails a reader that needs a page when the store is away', async () => {
    const { store, epoch, add } = await course(0)
    const access = new StoreAccess(100)
    const faulty = faultyStore(store)
    const log = new Log(faulty, access, name, 0)
    await add('a')
    await log.sync()
    log.flush()
    faulty.fault = () => 'rejects'
    const taker = new Taker(log, { epoch, seq: 0 })
    await taker.has('the store of shared streams cannot be reached: the store is away')
    log.close()
  })

  it('loads a page once for readers that want the same one', async () => {
    const { store, epoch, add } = await course(0)
    const counted = faultyStore(store)
    const log = new Log(counted, new StoreAccess(1000), name, 0)
    await add('a')
    await add('b')
    await log.sync()
    log.flush()
    const before = counted.calls.length
    const takers = Array.from({ length: 10 }, () => new Taker(log, { epoch, seq: 0 }))
    for (const taker of takers) await taker.has('a', 'b')
    expect(counted.calls.length - before).to.equal(1)
    const late = new Taker(log, { epoch, seq: 0 })
    await late.has('a', 'b')
    expect(counted.calls.length - before).to.equal(1)
    log.close()
  })

  it('keeps no large buffer of the store for a small part of it', async () => {
    const { store, epoch, add } = await course(0)
    const log = new Log(
      {
        open: (...args) => store.open(...args),
        append: (...args) => store.append(...args),
        renew: (...args) => store.renew(...args),
        watch: (...args) => store.watch(...args),
        // As a client of Redis does: parts of what it has read from its socket.
        async read(...args) {
          const entries = await store.read(...args)
          return entries.map((entry) => {
            if (entry.kind !== 'events') return entry
            return {
              ...entry,
              bytes: Buffer.concat([entry.bytes, Buffer.alloc(65_536)]).subarray(0, entry.bytes.length),
            }
          })
        },
      },
      new StoreAccess(1000),
      name,
      1_000_000,
    )
    await log.sync()
    await add('a')
    await add('b')
    await log.sync()
    const kept = log.entriesAfter({ epoch, seq: 0 }) ?? []
    for (const { bytes } of kept) expect(bytes.buffer.byteLength).to.be.at.most(4096)
    expect(kept).to.have.length(2)
    log.close()
  })
})
