import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect } from 'chai'
import fc from 'fast-check'
import { createDedupe, type EventIdentity, EventTracker, type SseEvent } from '../../src/index.ts'
import { NaiveTracker } from './naive-tracker.ts'

const event: fc.Arbitrary<SseEvent> = fc
  .record({
    id: fc.option(fc.oneof(fc.nat(40).map(String), fc.constantFrom('', 'é', '0', '00')), { freq: 12 }),
    event: fc.constantFrom(null, null, '', 'message', 'a'),
    data: fc.constantFrom('x', 'x', 'x', 'y', '', null),
  })
  .map(({ id, event, data }) => ({
    ...(id !== null && { id }),
    ...(event !== null && { event }),
    ...(data !== null && { data }),
  }))

const identities: readonly EventIdentity[] = [
  'id+data',
  'id',
  ({ data, event }) => (event === 'a' ? undefined : data),
  ({ id, data }) => id && `${id} ${data}`,
]
const identity = fc.constantFrom(...identities)
const windowSize = fc.oneof(fc.constantFrom(1, 2, 31, 32, 33, 64, 1000), fc.integer({ min: 1, max: 60 }))
const events = fc.array(event, { maxLength: 80, size: 'max' })

export const dedupes = fc.asyncProperty(
  windowSize,
  identity,
  events,
  async (windowSize, identity, events) => {
    const tracker = new EventTracker({ windowSize, identity })
    const naive = new NaiveTracker(windowSize, identity)
    const passed: unknown[] = []
    const dropped: unknown[] = []
    const dedupe = createDedupe(tracker).on('duplicate', (message) => dropped.push(message.event))
    await pipeline(Readable.from(events), dedupe, async (fresh: AsyncIterable<unknown>) => {
      for await (const each of fresh) passed.push(each)
    })
    const fresh = new Set(events.filter((each) => naive.accept(each)))
    expect(passed).to.deep.equal([...fresh])
    expect(dropped).to.deep.equal(events.filter((each) => !fresh.has(each)))
    expect(tracker.duplicates).to.equal(dropped.length)
  },
)

const steps = fc.array(
  fc.oneof({ arbitrary: event, weight: 30 }, { arbitrary: fc.constant('opened' as const), weight: 1 }),
  { maxLength: 80, size: 'max' },
)

export const trackers = fc.property(windowSize, identity, steps, (windowSize, identity, steps) => {
  const tracker = new EventTracker({ windowSize, identity })
  const naive = new NaiveTracker(windowSize, identity)
  for (const step of steps) {
    if (step === 'opened') {
      tracker.opened()
      naive.opened()
      continue
    }
    const duplicate = naive.isDuplicate(step)
    expect(tracker.isDuplicate(step)).to.equal(duplicate)
    expect(tracker.accept(step)).to.equal(naive.accept(step))
  }
})
