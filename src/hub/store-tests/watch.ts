import assert from 'node:assert/strict'
import type { Position } from '../store.ts'
import { type Bench, end, events, long, type StoreCase } from './bench.ts'

/** When a store wakes those who watch a stream. */
export const watchCases: readonly StoreCase[] = [
  {
    title: 'wakes after each entry',
    async run(bench) {
      const stream = bench.name()
      await bench.open(stream, 'owner')
      const watcher = await watched(bench, stream)
      await bench.giveUp(stream, 'owner')
      await watcher.isWoken('after the lease was given up')
      const { epoch } = await bench.open(stream, 'second')
      await watcher.isWoken('after the entry that opens')
      for (let seq = 1; seq <= 3; seq++) {
        await bench.append(stream, events(epoch, seq))
        await watcher.isWoken('after an entry with events')
      }
      await bench.append(stream, end(epoch, { epoch, seq: 3 }))
      await watcher.isWoken('after the entry that ends the stream')
      watcher.unwatch()
    },
  },
  {
    title: 'wakes after a lease was given up',
    async run(bench) {
      const stream = bench.name()
      await bench.open(stream, 'owner')
      const watcher = await watched(bench, stream)
      await bench.giveUp(stream, 'owner')
      await watcher.isWoken('after the lease was given up')
      watcher.unwatch()
    },
  },
  {
    title: 'wakes after a stream was ended by force',
    async run(bench) {
      const stream = bench.name()
      await bench.open(stream, 'owner')
      const watcher = await watched(bench, stream)
      await bench.store.open(stream, 'canceller', { lease: long, keepFor: long, force: 'stop' })
      await watcher.isWoken('after the force')
      watcher.unwatch()
    },
  },
  {
    title: 'lets one who is woken read the entry',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner')
      let latest = 0
      const read = async () => {
        const [entry] = await bench.store.read(stream, 'last', 1)
        if (entry?.kind === 'events') latest = Math.max(latest, entry.last)
      }
      const watcher = await watched(bench, stream, () => void read())
      for (let seq = 1; seq <= 20; seq++) await bench.append(stream, events(epoch, seq))
      await bench.poll('the latest entry is read', async () => (latest === 20 ? true : undefined))
      watcher.unwatch()
    },
  },
  {
    title: 'names no entry that cannot be read',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner')
      const reads: Promise<readonly unknown[]>[] = []
      const watcher = await watched(bench, stream, (latest) => {
        if (latest) reads.push(bench.store.read(stream, latest, 1))
      })
      for (let seq = 1; seq <= 5; seq++) {
        await bench.append(stream, events(epoch, seq))
        await watcher.isWoken('after an entry with events')
      }
      for (const entries of await Promise.all(reads)) assert.equal(entries.length, 1)
      watcher.unwatch()
    },
  },
  {
    title: 'calls no watcher that has stopped to watch, and goes on to call others',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner')
      const [stopped, stays] = [await watched(bench, stream), await watched(bench, stream)]
      await bench.append(stream, events(epoch, 1))
      await stopped.isWoken('before it stops')
      stopped.unwatch()
      stopped.unwatch()
      const before = stopped.wakes
      for (let seq = 2; seq <= 10; seq++) {
        stays.forget()
        await bench.append(stream, events(epoch, seq))
        await stays.isWoken('while it watches')
      }
      assert.equal(stopped.wakes, before)
      stays.unwatch()
      const again = await watched(bench, stream)
      await bench.append(stream, events(epoch, 11))
      await again.isWoken('when it watches again')
      again.unwatch()
    },
  },
  {
    title: 'takes a function twice, and stops one of the two',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner')
      let wakes = 0
      const wake = () => {
        wakes++
      }
      const [first, second] = [bench.store.watch(stream, wake), bench.store.watch(stream, wake)]
      first()
      first()
      let seq = 0
      await bench.poll('the second is called', async () => {
        await bench.append(stream, events(epoch, ++seq))
        return wakes > 0 || undefined
      })
      second()
    },
  },
]

/** Watches the stream of `owner`, and waits until the store counts the listener: a store may take a while to begin. */
async function watched(bench: Bench, stream: string, onWake = (_?: Position) => {}) {
  let wakes = 0
  let seen = 0
  const unwatch = bench.store.watch(stream, (latest) => {
    wakes++
    onWake(latest)
  })
  await bench.poll('the listener is counted', async () => {
    const { listeners } = await bench.store.renew(stream, 'owner', long, long)
    return listeners > 0 || undefined
  })
  seen = wakes
  return {
    unwatch,
    get wakes() {
      return wakes
    },
    forget() {
      seen = wakes
    },
    /** Expects a call since the last expectation. */
    async isWoken(when: string) {
      await bench.poll(`wakes ${when}`, async () => wakes > seen || undefined)
      seen = wakes
    },
  }
}
