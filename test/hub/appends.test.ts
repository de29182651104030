import { expect } from 'chai'
import { Appends } from '../../src/hub/appends.ts'
import { Log } from '../../src/hub/log.ts'
import { comparePositions, type Entry, type EventsEntry, positionOf } from '../../src/hub/store.ts'
import { StoreAccess } from '../../src/hub/store-access.ts'
import type { AppendResult, StreamStore } from '../../src/index.ts'
import { wrapStore } from '../support/store.ts'

const events = (seq: number): EventsEntry => ({
  kind: 'events',
  epoch: 7,
  at: 7,
  first: seq,
  last: seq,
  bytes: Buffer.from(`data: event ${seq}\n\n`),
  cursor: undefined,
})
const wanted = () => true

/** A stream whose store keeps its entries in a list, which a test can shorten. */
function shortened(windowBytes = 1024) {
  const list: Entry[] = []
  const state = { holds: Promise.resolve(), reads: 0 }
  const append = async (entry: Entry): Promise<AppendResult> => {
    await state.holds
    const latest = list.at(-1)
    const order = latest ? comparePositions(positionOf(latest), positionOf(entry)) : -1
    if (order === 0) return 'stored'
    if (order > 0) return 'fenced'
    if (entry.kind === 'events' && entry.first > 1 && (latest ? positionOf(latest).seq : 0) < entry.first - 1)
      return 'missing'
    list.push(entry)
    return 'stored'
  }
  const store: StreamStore = wrapStore(() => ({
    append: (_, entry) => append(entry),
    read: async () => {
      state.reads++
      return list.slice(-1)
    },
  }))
  const access = new StoreAccess(1000)
  const log = new Log(store, access, 'log', windowBytes)
  const appends = new Appends(store, access, 'log', log)
  const add = async (seq: number) => {
    const isStored = await appends.append(events(seq))
    if (isStored) log.accept(events(seq))
    return isStored
  }
  const latest = () => positionOf(list.at(-1) ?? events(0))
  return {
    list,
    state,
    add,
    repair: () => appends.repair(latest(), wanted),
    seqs: () => list.map((entry) => positionOf(entry).seq),
    [Symbol.dispose]: () => log.close(),
  }
}

describe('the appends of a stream whose store has lost its latest entries', () => {
  it('store the lost entries again before the next one', async () => {
    using stream = shortened()
    for (const seq of [1, 2, 3]) await stream.add(seq)
    stream.list.length = 1
    expect(await stream.add(4)).to.equal(true)
    expect(stream.seqs()).to.deep.equal([1, 2, 3, 4])
  })

  it('store the lost entries again without a next one, once the store tells its latest entry', async () => {
    using stream = shortened()
    for (const seq of [1, 2, 3]) await stream.add(seq)
    stream.list.length = 1
    expect(await stream.repair()).to.equal(true)
    expect(stream.seqs()).to.deep.equal([1, 2, 3])
  })

  it('ask the store nothing while it has every entry', async () => {
    using stream = shortened()
    for (const seq of [1, 2]) await stream.add(seq)
    expect(await stream.repair()).to.equal(true)
    expect(stream.state.reads).to.equal(0)
  })

  it('leave the repair to an append that is running', async () => {
    using stream = shortened()
    for (const seq of [1, 2, 3]) await stream.add(seq)
    stream.list.length = 1
    let release = () => {}
    stream.state.holds = new Promise((resolve) => {
      release = resolve
    })
    const running = stream.add(4)
    expect(await stream.repair()).to.equal(true)
    expect(stream.seqs()).to.deep.equal([1])
    release()
    expect(await running).to.equal(true)
    expect(stream.seqs()).to.deep.equal([1, 2, 3, 4])
  })

  it('wait for a repair that is running: no entry is refused as an older one', async () => {
    using stream = shortened()
    for (const seq of [1, 2, 3]) await stream.add(seq)
    stream.list.length = 1
    const [isRepaired, isStored] = await Promise.all([stream.repair(), stream.add(4)])
    expect([isRepaired, isStored]).to.deep.equal([true, true])
    expect(stream.seqs()).to.deep.equal([1, 2, 3, 4])
  })

  it('fail when the lost entries are no longer in memory', async () => {
    using stream = shortened(0)
    for (const seq of [1, 2, 3]) await stream.add(seq)
    await new Promise(setImmediate)
    stream.list.length = 1
    expect(await stream.repair()).to.equal(false)
    expect(await stream.add(4)).to.equal(false)
    expect(stream.seqs()).to.deep.equal([1])
  })
})
