import { expect } from 'chai'
import { readHistory } from '../../src/hub/history.ts'
import { formatId } from '../../src/hub/position-id.ts'
import { Retention } from '../../src/hub/retention.ts'
import { StoreAccess } from '../../src/hub/store-access.ts'
import { EventTracker, memoryStore, serializeEvent } from '../../src/index.ts'
import { faultyStore } from '../support/store.ts'

const name = 's'
const limits = { events: 1000, bytes: 1_000_000, age: undefined }

/** A log whose entries have one event each, with these upstream's ids. */
async function logOf(...cursors: (string | undefined)[]) {
  const store = faultyStore(memoryStore())
  const opened = await store.open(name, 'owner', { lease: 60_000, keepFor: 60_000 })
  if (opened.state !== 'open') throw new Error(opened.state)
  const { epoch } = opened
  for (const [index, cursor] of cursors.entries()) {
    const seq = index + 1
    const id = formatId({ epoch, seq }, cursor)
    const bytes = Buffer.from(serializeEvent({ id, event: 'a', data: `event ${seq}` }))
    await store.append(name, { kind: 'events', epoch, at: 0, first: seq, last: seq, bytes, cursor })
  }
  const tracker = new EventTracker()
  const retention = new Retention({ ...limits, events: cursors.length })
  const read = () => readHistory(store, new StoreAccess(100), name, tracker, retention)
  return { store, epoch, tracker, retention, read }
}

describe('the history of a shared stream', () => {
  it('is empty for a log without events', async () => {
    const { read } = await logOf()
    expect(await read()).to.deep.equal({ hasEvents: false, cursor: undefined })
  })

  it('has the cursor of the latest event, also where that is not known', async () => {
    expect(await (await logOf('x', 'y')).read()).to.deep.equal({ hasEvents: true, cursor: 'y' })
    expect(await (await logOf('x', undefined)).read()).to.deep.equal({ hasEvents: true, cursor: undefined })
  })

  it('makes the events known as repeats, by the ids of the upstream', async () => {
    const { read, tracker } = await logOf('x', 'y/z')
    await read()
    tracker.opened()
    expect(tracker.isDuplicate({ id: 'x', event: 'a', data: 'event 1' })).to.equal(true)
    expect(tracker.isDuplicate({ id: 'y/z', event: 'a', data: 'event 2' })).to.equal(true)
    expect(tracker.isDuplicate({ id: 'x', event: 'a', data: 'event 2' })).to.equal(false)
    expect(tracker.isDuplicate({ id: 'x', event: 'b', data: 'event 1' })).to.equal(false)
  })

  it('counts the entries that the log keeps', async () => {
    const { read, retention, epoch } = await logOf('a', 'b', 'c')
    await read()
    const bytes = Buffer.from('data: d\n\n')
    const next = { kind: 'events', epoch, at: 0, first: 4, last: 4, bytes, cursor: 'd' } as const
    expect(retention.add(next)).to.deep.equal({ epoch, seq: 2 })
  })

  it('is read in pages to its end', async () => {
    const cursors = Array.from({ length: 300 }, (_, n) => `${n}${'x'.repeat(1000)}`)
    const { read, store, tracker } = await logOf(...cursors)
    expect(await read()).to.deep.equal({ hasEvents: true, cursor: cursors.at(-1) })
    expect(store.calls.filter((call) => call === 'read')).to.have.length.above(4)
    tracker.opened()
    expect(tracker.isDuplicate({ id: cursors[299], event: 'a', data: 'event 300' })).to.equal(true)
  })

  it('fails when the store is away', async () => {
    const { read, store } = await logOf('a')
    store.fault = () => 'rejects'
    const error = await read().catch((reason: unknown) => reason)
    expect(error).to.include({ code: 'ERR_SSE_STORE' })
  })
})
