import { expect } from 'chai'
import { memoryStore, type Position } from '../../src/index.ts'
import { get, has } from '../support/client.ts'
import { countingUpstream } from '../support/feed.ts'
import { serveHub } from '../support/hub.ts'
import { faultyStore, wrapStore } from '../support/store.ts'
import { type HeldTime, holdTime } from '../support/time.ts'
import { until } from '../support/until.ts'

/** Lets a time pass in steps, in each of which timers set others. */
async function pass(time: HeldTime, milliseconds: number, step = 100): Promise<void> {
  for (let passed = 0; passed < milliseconds; passed += step) await time.pass(step)
}

/** A store in memory whose calls are counted, and whose watchers a test wakes. */
function wakingStore(inner = memoryStore()) {
  const wakes = new Set<(latest?: Position) => void>()
  const counts = { open: 0, read: 0, renew: 0 }
  const count =
    <Args extends unknown[], Result>(name: keyof typeof counts, call: (...args: Args) => Result) =>
    (...args: Args): Result => {
      counts[name]++
      return call(...args)
    }
  const store = wrapStore(
    () => ({
      open: count('open', (...args) => inner.open(...args)),
      read: count('read', (...args) => inner.read(...args)),
      renew: count('renew', (...args) => inner.renew(...args)),
      watch(stream, wake) {
        wakes.add(wake)
        const unwatch = inner.watch(stream, wake)
        return () => {
          wakes.delete(wake)
          unwatch()
        }
      },
    }),
    inner,
  )
  const wake = () => {
    for (const each of wakes) each()
  }
  return { store, counts, wake }
}

describe('a shared stream', () => {
  it('renews its lease every third of it', async () => {
    using time = holdTime()
    await using upstream = await countingUpstream()
    const { store, counts } = wakingStore()
    await using feed = await serveHub(upstream.url, { hub: { store, lease: 30_000 } })
    using client = await get(feed.url)
    await upstream.send()
    await has(client, 'event 1\n')
    // A renewal is noticed at most a second late.
    await pass(time, 36_000)
    expect(counts.renew).to.equal(3)
  })

  it('is taken over at most a second after the lease of an owner that was killed', async () => {
    const inner = memoryStore()
    const killed = faultyStore(inner)
    const lease = 10_000
    using time = holdTime()
    await using upstream = await countingUpstream()
    await using a = await serveHub(upstream.url, { hub: { store: killed, lease, storeTimeout: 600_000 } })
    await using b = await serveHub(upstream.url, { hub: { store: inner, lease }, from: 'start' })
    using first = await get(a.url)
    await upstream.send()
    await has(first, 'event 1\n')
    using second = await get(b.url)
    await has(second, 'event 1\n')
    const renewals = () => killed.calls.filter((call) => call === 'renew').length
    // Right after a renewal: no lease lasts longer.
    for (const before = renewals(); renewals() === before; ) await time.pass(10)
    killed.fault = () => 'hangs'
    await pass(time, lease - 500)
    expect(upstream.requests).to.have.length(1)
    await pass(time, 1500)
    await until(
      () => upstream.requests.length === 2,
      () => 'the other process takes over',
    )
    await upstream.send()
    await has(second, 'event 2\n')
    killed.fault = () => undefined
    killed.wake()
  })

  it('is asked for by a process that follows at most every 100 ms, however often the store wakes it', async () => {
    using time = holdTime()
    await using upstream = await countingUpstream()
    const inner = memoryStore()
    const hub = { lease: 60_000, poll: 60_000 }
    await using a = await serveHub(upstream.url, { hub: { store: inner, ...hub } })
    const { store, counts, wake } = wakingStore(inner)
    await using b = await serveHub(upstream.url, { hub: { store, ...hub }, from: 'start' })
    using first = await get(a.url)
    await upstream.send()
    await has(first, 'event 1\n')
    using second = await get(b.url)
    await has(second, 'event 1\n')
    const before = counts.open
    for (let passed = 0; passed < 1000; passed += 10) {
      wake()
      await time.pass(10)
    }
    expect(counts.open - before).to.be.within(8, 11)
  })

  it('is read by its owner at most every 25 ms, however often the store wakes it', async () => {
    using time = holdTime()
    await using upstream = await countingUpstream()
    const { store, counts, wake } = wakingStore()
    await using feed = await serveHub(upstream.url, { hub: { store, lease: 60_000, poll: 60_000 } })
    using client = await get(feed.url)
    await upstream.send()
    await has(client, 'event 1\n')
    await pass(time, 1000)
    const before = counts.read
    for (let passed = 0; passed < 250; passed += 5) {
      wake()
      await time.pass(5)
    }
    expect(counts.read - before).to.be.within(7, 10)
  })
})
