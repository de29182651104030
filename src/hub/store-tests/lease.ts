import assert from 'node:assert/strict'
import { type Bench, end, events, long, type StoreCase, short } from './bench.ts'

/** How a store extends a lease, and how long it keeps a log. */
export const leaseCases: readonly StoreCase[] = [
  {
    title: 'renews the lease of the owner',
    async run(bench) {
      const stream = bench.name()
      await bench.open(stream, 'owner', short)
      assert.equal((await bench.store.renew(stream, 'owner', long, long)).held, true)
      await bench.pass(short)
      await bench.isHeld(stream)
    },
  },
  {
    title: 'renews the lease for the time of the latest call',
    async run(bench) {
      const stream = bench.name()
      await bench.open(stream, 'owner')
      assert.equal((await bench.store.renew(stream, 'owner', short, long)).held, true)
      await bench.takeOver(stream, 'second')
    },
  },
  {
    title: 'renews a lease that has run out while no other owner has followed',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner', short)
      await bench.pass(short)
      assert.equal((await bench.store.renew(stream, 'owner', long, long)).held, true)
      await bench.isHeld(stream)
      await bench.append(stream, events(epoch, 1))
    },
  },
  {
    title: 'renews a lease only for its owner, and nothing of a stream that does not exist',
    async run(bench) {
      const stream = bench.name()
      assert.equal((await bench.store.renew(stream, 'owner', long, long)).held, false)
      await bench.has(stream, [])
      await bench.open(stream, 'owner', short)
      await bench.isNotHeldBy(stream, 'another', long)
      await bench.takeOver(stream, 'second')
      await bench.isNotHeldBy(stream, 'owner', 0)
      await bench.isNotHeldBy(stream, 'owner', 1)
      await bench.isNotHeldBy(stream, 'another', 0)
      await bench.pass(short)
      await bench.isHeld(stream)
    },
  },
  {
    title: 'opens the stream at once for another owner when the lease was given up',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner')
      assert.equal((await bench.giveUp(stream, 'owner')).held, true)
      await bench.append(stream, events(epoch, 1))
      assert.equal((await bench.open(stream, 'second')).previous?.seq, 1)
    },
  },
  {
    title: 'does not renew a lease that was given up',
    async run(bench) {
      const stream = bench.name()
      await bench.open(stream, 'owner')
      await bench.giveUp(stream, 'owner')
      await bench.isNotHeldBy(stream, 'owner', long)
      await bench.isNotHeldBy(stream, 'owner', 0)
      await bench.open(stream, 'second')
    },
  },
  {
    title: 'keeps a log for its time after a lease that has run out, and then removes it',
    async run(bench) {
      const [kept, removed] = [bench.name(), bench.name()]
      await bench.open(kept, 'owner', 1, long)
      await bench.open(removed, 'owner', 1, short)
      await bench.isGone(removed)
      assert.equal((await bench.all(kept)).length, 1)
      assert.equal((await bench.open(removed, 'owner')).previous, undefined)
    },
  },
  {
    title: 'keeps a log while the lease lasts',
    async run(bench) {
      const stream = bench.name()
      await bench.open(stream, 'owner', long, 1)
      await bench.pass(short)
      assert.equal((await bench.all(stream)).length, 1)
    },
  },
  {
    title: 'keeps a log for the time of the latest renewal',
    async run(bench) {
      const [kept, removed] = [bench.name(), bench.name()]
      await bench.open(kept, 'owner', long, short)
      await bench.open(removed, 'owner')
      await bench.store.renew(kept, 'owner', 1, long)
      await bench.store.renew(removed, 'owner', 1, short)
      await bench.pass(short)
      await bench.isGone(removed)
      assert.equal((await bench.all(kept)).length, 1)
    },
  },
  {
    title: 'keeps a log for the time that is named when the lease is given up',
    async run(bench) {
      const [kept, removed, ended] = [bench.name(), bench.name(), bench.name()]
      await bench.open(kept, 'owner', long, short)
      await bench.open(removed, 'owner')
      const { epoch } = await bench.open(ended, 'owner')
      await bench.append(ended, end(epoch, { epoch, seq: 0 }))
      await bench.giveUp(kept, 'owner', long)
      await bench.giveUp(removed, 'owner', short)
      await bench.giveUp(ended, 'owner', short)
      await bench.isGone(removed)
      await bench.isGone(ended)
      assert.equal((await bench.all(kept)).length, 1)
      assert.ok((await bench.open(ended, 'owner')).epoch > epoch, 'an ended stream can be opened again')
    },
  },
  {
    title: 'keeps a log for its time after the stream was ended by force',
    async run(bench) {
      const [kept, removed] = [bench.name(), bench.name()]
      await bench.open(kept, 'owner', long, short)
      await bench.open(removed, 'owner')
      await bench.store.open(kept, 'owner', { lease: short, keepFor: long, force: 'stop' })
      await bench.store.open(removed, 'owner', { lease: long, keepFor: short, force: 'stop' })
      await bench.isGone(removed)
      await bench.pass(short * 2)
      assert.equal((await bench.all(kept)).length, 2)
    },
  },
  {
    title: 'keeps a log that is ended by force as long as before, where no time is named',
    async run(bench) {
      const [kept, removed] = [bench.name(), bench.name()]
      await bench.open(kept, 'owner', 1, long)
      await bench.open(removed, 'owner', 1, short)
      for (const stream of [kept, removed])
        await bench.store.open(stream, 'canceller', { lease: long, keepFor: undefined, force: 'stop' })
      await bench.isGone(removed)
      await bench.pass(short * 2)
      assert.equal((await bench.all(kept)).length, 2)
      assert.equal((await bench.store.open(kept, 'another', { lease: long, keepFor: long })).state, 'ended')
    },
  },
  {
    title: 'counts the processes that watch a stream',
    async run(bench) {
      const [stream, other] = [bench.name(), bench.name()]
      await bench.open(stream, 'owner')
      const unwatchOther = bench.store.watch(other, () => {})
      await bench.poll('no listener is counted', () => listens(bench, stream, false))
      const unwatch = bench.store.watch(stream, () => {})
      await bench.poll('a listener is counted', () => listens(bench, stream, true))
      unwatch()
      await bench.poll('the listener is no longer counted', () => listens(bench, stream, false))
      unwatchOther()
    },
  },
]

async function listens(bench: Bench, stream: string, some: boolean): Promise<true | undefined> {
  const { listeners } = await bench.store.renew(stream, 'owner', long, long)
  return listeners > 0 === some || undefined
}
