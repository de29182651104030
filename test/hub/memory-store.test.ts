import { expect } from 'chai'
import { localStoreOf } from '../../src/hub/memory-store.ts'
import type { EventsEntry } from '../../src/hub/store.ts'
import { memoryStore } from '../../src/index.ts'
import { storeTests } from '../../src/store-tests.ts'

describe('the store in memory', () => {
  for (const { title, run } of storeTests(async () => ({ store: memoryStore(), close: async () => {} }))) {
    it(title, run)
  }

  it('wakes whoever appends without a promise for the entries of others alone', async () => {
    const store = memoryStore()
    const local = localStoreOf(store)
    if (!local) throw new Error('this store needs promises')
    const woken: string[] = []
    const unwatch = store.watch('s', () => woken.push('self'))
    const log = local.logOf('s')
    const opened = await store.open('s', 'owner', { lease: 60_000, keepFor: 60_000 })
    if (opened.state !== 'open') throw new Error(opened.state)
    const { epoch } = opened
    const entry = (seq: number): EventsEntry => {
      const bytes = Buffer.from('data: a\n\n')
      return { kind: 'events', epoch, at: 0, first: seq, last: seq, bytes, cursor: undefined }
    }
    woken.length = 0
    expect(log.append(entry(1))).to.equal('stored')
    expect(woken).to.deep.equal([])
    await store.append('s', entry(2))
    expect(woken.splice(0)).to.deep.equal(['self'])
    const ignore = store.watch('s', () => woken.push('other'))
    expect(log.append(entry(3))).to.equal('stored')
    expect(woken).to.include('other')
    ignore()
    expect((await store.read('s', 'first', 1000)).length).to.equal(4)
    unwatch()
  })
})
