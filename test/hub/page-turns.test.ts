import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { Log } from '../../src/hub/log.ts'
import { pageSize } from '../../src/hub/page.ts'
import { type Loaded, type PageReader, PageTurns } from '../../src/hub/page-turns.ts'
import { Reader } from '../../src/hub/reader.ts'
import { StoreAccess } from '../../src/hub/store-access.ts'
import { memoryStore, SseError, type StreamStore } from '../../src/index.ts'
import { until } from '../support/until.ts'

const pages = 3
const longTurn = 600_000

/** How many pages a consumer takes, and what it was told. */
interface Consumer {
  room: number
  readonly failed: string[]
}

/** A reader that notes its page, and keeps its turn. */
class Holder implements PageReader {
  readonly got: string[] = []

  onLoaded(loaded: Loaded): void {
    this.got.push(loaded.state === 'page' ? loaded.page.bytes.toString() : loaded.state)
  }

  onLoadFailure({ message }: Error): void {
    this.got.push(message)
  }
}

async function settled(): Promise<void> {
  for (let n = 0; n < 50; n++) await nextTurn()
}

/** Readers of logs whose pages are in the store alone, one entry a page. */
async function readersOf(count: number, turns: PageTurns, failing = -1) {
  const store = memoryStore()
  const readers: Reader[] = []
  const consumers: Consumer[] = []
  /** The readers, in the order in which they have had pages. */
  const order: number[] = []
  const all = { isStarted: false }
  for (let n = 0; n < count; n++) {
    const name = `stream ${n}`
    const opened = await store.open(name, 'owner', { lease: 60_000, keepFor: 60_000 })
    if (opened.state !== 'open') throw new Error(opened.state)
    const { epoch } = opened
    for (let seq = 1; seq <= pages; seq++) {
      const event = { kind: 'events', epoch, at: epoch, first: seq, last: seq, cursor: undefined } as const
      await store.append(name, { ...event, bytes: Buffer.alloc(pageSize, name) })
    }
    const isFailing = () => n === failing && all.isStarted
    const own: StreamStore = {
      open: (...args) => store.open(...args),
      append: (...args) => store.append(...args),
      renew: (...args) => store.renew(...args),
      watch: (...args) => store.watch(...args),
      read: async (...args) => {
        if (isFailing()) throw new SseError('ERR_SSE_STORE', 'the store is away')
        return store.read(...args)
      },
    }
    const log = new Log(own, new StoreAccess(1000), name, 0, turns)
    await log.sync()
    log.flush()
    const consumer: Consumer = { room: Number.POSITIVE_INFINITY, failed: [] }
    consumers.push(consumer)
    const reader = new Reader(
      log,
      { epoch, seq: 0 },
      {
        canTake: () => consumer.room > 0,
        onEvents() {
          consumer.room--
          order.push(n)
          return true
        },
        onUpstreamGap: () => {},
        onGap: (reason) => void consumer.failed.push(reason),
        onEnd: ({ how }) => void consumer.failed.push(how),
        onFailure: ({ message }) => void consumer.failed.push(message),
      },
    )
    readers.push(reader)
  }
  return {
    readers,
    consumers,
    order,
    start() {
      all.isStarted = true
      for (const reader of readers) reader.read()
    },
    /** Each consumer takes one page, and no other one before `drain`. */
    takeOneEach() {
      for (const consumer of consumers) consumer.room = 1
      this.start()
    },
    /** A consumer has room for one more page. */
    drain(n: number) {
      const consumer = consumers[n]
      if (consumer) consumer.room = 1
      readers[n]?.resume()
    },
    settled,
    [Symbol.dispose]() {
      for (const reader of readers) reader.close()
    },
  }
}

describe('the turns of readers that load pages', () => {
  it('go round: each has one page, and then waits behind the others', async () => {
    using all = await readersOf(4, new PageTurns(1, longTurn))
    all.start()
    expect(all.readers.map(({ isBehind }) => isBehind)).to.deep.equal([true, true, true, true])
    await until(
      () => all.order.length === 4 * pages,
      () => `pages of ${all.order}`,
    )
    expect(all.order).to.deep.equal([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3])
    await all.settled()
    expect(all.readers.map(({ isBehind }) => isBehind)).to.deep.equal([false, false, false, false])
    expect(all.consumers.flatMap(({ failed }) => failed)).to.deep.equal([])
  })

  it('are no more at a time than allowed, and last until the consumer has taken its page', async () => {
    using all = await readersOf(5, new PageTurns(2, longTurn))
    all.takeOneEach()
    await all.settled()
    expect(all.order).to.deep.equal([0, 1])
    all.drain(1)
    await all.settled()
    expect(all.order).to.deep.equal([0, 1, 2])
    // A client that leaves.
    all.readers[0]?.close()
    await all.settled()
    expect(all.order).to.deep.equal([0, 1, 2, 3])
    // One that leaves while it waits takes nobody's turn.
    all.readers[4]?.close()
    all.drain(2)
    await all.settled()
    expect(all.order).to.deep.equal([0, 1, 2, 3, 1])
  })

  it('end soon for consumers that take nothing while others wait', async () => {
    using all = await readersOf(5, new PageTurns(1, 1))
    all.takeOneEach()
    await until(
      () => all.order.length === 5,
      () => `pages of ${all.order}`,
    )
    expect(all.order).to.deep.equal([0, 1, 2, 3, 4])
    for (const n of [4, 0]) all.drain(n)
    await until(
      () => all.order.length === 7,
      () => `pages of ${all.order}`,
    )
    expect(all.order.slice(5)).to.deep.equal([4, 0])
  })

  it('are not taken by readers that fail', async () => {
    using all = await readersOf(3, new PageTurns(1, longTurn), 1)
    all.start()
    await until(
      () => all.order.length === 2 * pages,
      () => `pages of ${all.order}`,
    )
    expect(all.consumers.map(({ failed }) => failed)).to.deep.equal([[], ['the store is away'], []])
  })

  /** Loads pages that hold their key. */
  const loader = () => {
    const loads: string[] = []
    const load = (key: string) => async (): Promise<Loaded> => {
      loads.push(key)
      return { state: 'page', page: { bytes: Buffer.from(key), end: { epoch: 1, seq: 1 } } }
    }
    return { loads, load }
  }

  it('are shared by all who want the same page, whenever they come', async () => {
    const turns = new PageTurns(1, longTurn)
    const { loads, load } = loader()
    const holders = Array.from({ length: 100 }, () => new Holder())
    const other = new Holder()
    const late = new Holder()
    for (const holder of holders) turns.take(holder, 'a', load('a'))
    turns.take(other, 'b', load('b'))
    await settled()
    expect(holders.flatMap(({ got }) => got)).to.deep.equal(holders.map(() => 'a'))
    turns.take(late, 'a', load('a'))
    await settled()
    expect(late.got).to.deep.equal(['a'])
    for (const holder of holders) turns.giveBack(holder)
    await settled()
    expect(other.got).to.deep.equal([])
    turns.giveBack(late)
    await settled()
    expect(other.got).to.deep.equal(['b'])
    // The page is still kept, although nobody has it.
    turns.take(late, 'a', load('a'))
    await settled()
    expect(late.got).to.deep.equal(['a', 'a'])
    expect(loads).to.deep.equal(['a', 'b'])
    for (const holder of [other, late]) turns.giveBack(holder)
    expect(turns.running).to.equal(0)
  })

  it('let no reader wait for ever whose page was loaded while the process was busy', async () => {
    const turns = new PageTurns(1, 1)
    const { load } = loader()
    const holders = Array.from({ length: 100 }, () => new Holder())
    const other = new Holder()
    for (const holder of holders) turns.take(holder, 'a', load('a'))
    turns.take(other, 'b', load('b'))
    await Promise.resolve()
    await Promise.resolve()
    // The time limit of the turn is over before the first reader gets its page.
    const busyUntil = performance.now() + 20
    while (performance.now() < busyUntil);
    await until(
      () => other.got.length > 0 && holders.every(({ got }) => got.length > 0),
      () => `${holders.filter(({ got }) => got.length > 0).length} readers have their page`,
    )
    for (const holder of [...holders, other]) turns.giveBack(holder)
    expect(turns.running).to.equal(0)
  })

  it('fail all who want a page that cannot be loaded, and let the next page be loaded', async () => {
    const turns = new PageTurns(1, longTurn)
    const { load } = loader()
    const holders = [new Holder(), new Holder()]
    const other = new Holder()
    for (const holder of holders) turns.take(holder, 'a', () => Promise.reject(new Error('away')))
    turns.take(other, 'b', load('b'))
    await settled()
    expect(holders.map(({ got }) => got)).to.deep.equal([['away'], ['away']])
    expect(other.got).to.deep.equal(['b'])
    turns.giveBack(other)
  })
})
