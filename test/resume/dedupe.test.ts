import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { Readable, type Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect } from 'chai'
import { createDedupe } from '../../src/resume/dedupe.ts'
import { EventTracker } from '../../src/resume/tracker.ts'
import type { SseEvent } from '../../src/wire/event.ts'

const event = (id: number | string, data = `event ${id}`): SseEvent => ({ id: String(id), data })

/** Writes events and gives what comes out. */
async function through(dedupe: Transform, events: readonly SseEvent[]): Promise<unknown[]> {
  const passed: unknown[] = []
  await pipeline(Readable.from(events), dedupe, async (fresh: AsyncIterable<unknown>) => {
    for await (const each of fresh) passed.push(each)
  })
  return passed
}

describe('createDedupe', () => {
  it('passes on each event once, in order, as the same object', async () => {
    const [one, two, three] = [event(1), event(2), event(3)]
    const passed = await through(createDedupe(), [one, two, event(1), three, event(2), event(3)])
    expect(passed).to.have.lengthOf(3)
    expect(passed[0]).to.equal(one)
    expect(passed[1]).to.equal(two)
    expect(passed[2]).to.equal(three)
  })

  it('passes on events without an id, however alike', async () => {
    expect(await through(createDedupe(), [{ data: 'x' }, { data: 'x' }])).to.have.lengthOf(2)
  })

  it('emits duplicate for each repeat, and announces the same message', async () => {
    const emitted: unknown[] = []
    const published: unknown[] = []
    const onMessage = (message: unknown) => published.push(message)
    const dedupe = createDedupe().on('duplicate', (message) => emitted.push(message))
    const repeat = event(1)
    subscribe('resilient-sse:duplicate', onMessage)
    try {
      await through(dedupe, [event(1), repeat, event(2), repeat])
    } finally {
      unsubscribe('resilient-sse:duplicate', onMessage)
    }
    expect(emitted).to.have.lengthOf(2)
    expect(emitted[0]).to.include({ stream: dedupe, name: undefined, event: repeat })
    expect(published).to.have.lengthOf(2)
    expect(published[0]).to.equal(emitted[0])
    expect(published[1]).to.equal(emitted[1])
  })

  it('counts repeats in its tracker', async () => {
    const tracker = new EventTracker()
    await through(createDedupe(tracker), [event(1), event(1), event(1)])
    expect(tracker.duplicates).to.equal(2)
  })

  it('always looks for repeats with its own tracker, as after two merged upstreams', async () => {
    const merged = [1, 2, 1, 3, 2, 3, 4, 4].map((n) => event(n))
    expect(await through(createDedupe(), merged)).to.deep.equal([1, 2, 3, 4].map((n) => event(n)))
  })

  it('does not share its events with another Transform', async () => {
    expect(await through(createDedupe(), [event(1)])).to.have.lengthOf(1)
    expect(await through(createDedupe(), [event(1)])).to.have.lengthOf(1)
  })

  it('looks for repeats only after the source that drives its tracker has reconnected', async () => {
    const tracker = new EventTracker()
    const dedupe = createDedupe(tracker)
    const passed: unknown[] = []
    dedupe.on('data', (each) => passed.push(each))
    tracker.opened()
    dedupe.write(event(1))
    dedupe.write(event(1))
    expect(passed).to.have.lengthOf(2)
    tracker.opened()
    dedupe.write(event(1))
    dedupe.write(event(2))
    dedupe.end()
    await once(dedupe, 'end')
    expect(passed).to.have.lengthOf(3)
  })

  it('stops taking events while it is not read, and continues afterwards', async () => {
    const dedupe = createDedupe()
    let written = 1
    while (dedupe.write(event(written, 'x'.repeat(4096)))) written++
    // 64 KiB are yielded, and as many events wait as in the buffer of any other stream.
    expect(written).to.be.below(40)
    const drained = once(dedupe, 'drain')
    let passed = 0
    dedupe.on('data', () => passed++)
    await drained
    dedupe.end()
    await once(dedupe, 'end')
    expect(passed).to.equal(written)
  })

  it('continues to take repeats while it is not read, because it drops them', () => {
    const dedupe = createDedupe()
    for (let n = 0; n < 1000; n++) expect(dedupe.write(event(1))).to.equal(true)
    expect(dedupe.readableLength).to.equal(1)
  })

  it('fails with the error of an identity function', async () => {
    const thrown = new Error('mine')
    const identity = () => {
      throw thrown
    }
    const dedupe = createDedupe(new EventTracker({ identity }))
    const failed = once(dedupe, 'error')
    dedupe.write(event(1))
    expect(await failed).to.deep.equal([thrown])
  })

  for (const [tracker, shown] of [
    [null, 'null'],
    [{}, '[object Object]'],
    ['id', '"id"'],
    [7, '7'],
  ] as const) {
    it(`refuses ${JSON.stringify(tracker)} as a tracker`, () => {
      // @ts-expect-error what a caller without types may give
      expect(() => createDedupe(tracker)).to.throw(TypeError, `tracker must be an EventTracker, got ${shown}`)
    })
  }
})
