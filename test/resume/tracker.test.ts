import { expect } from 'chai'
import fc from 'fast-check'
import { type EventIdentity, EventTracker } from '../../src/resume/tracker.ts'
import type { SseEvent } from '../../src/wire/event.ts'

const event = (id: number | string, data = 'x'): SseEvent => ({ id: String(id), data })

/** Whether each of some events is fresh, in turn. */
const acceptAll = (tracker: EventTracker, events: readonly SseEvent[]) =>
  events.map((each) => tracker.accept(each))

/** A tracker that a source drives: it was told of one connection, which brought some events. */
function driven(events: readonly SseEvent[], windowSize = 1000): EventTracker {
  const tracker = new EventTracker({ windowSize })
  tracker.opened()
  acceptAll(tracker, events)
  return tracker
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => event(from + n))

describe('EventTracker', () => {
  describe('options', () => {
    // @ts-expect-error some of these options are wrong
    const make = (options: unknown) => () => new EventTracker(options)

    for (const windowSize of [0, -1, 1.5, 2 ** 23 + 1, Number.NaN, Number.POSITIVE_INFINITY]) {
      it(`refuse windowSize ${windowSize}`, () => {
        expect(make({ windowSize }))
          .to.throw(RangeError, `got ${windowSize}`)
          .with.property('message')
          .that.includes('windowSize')
      })
    }

    it('refuse a windowSize that is not a number, and show the value', () => {
      expect(make({ windowSize: null })).to.throw(Error, /^windowSize .*got null/)
      expect(make({ windowSize: '5' })).to.throw(Error, /^windowSize .*got ("5"|string)/)
    })

    it('refuse an unknown name, and propose a known name', () => {
      expect(make({ windowsize: 5 })).to.throw(
        TypeError,
        'windowsize is not an option here: did you mean windowSize?',
      )
      expect(make({ tracker: undefined })).to.throw(
        TypeError,
        /^tracker .*known options: windowSize, lastEventId, identity$/,
      )
      expect(make(5)).to.throw(TypeError, 'options must be an object, got 5')
    })

    it('may be undefined, which is their default', () => {
      const tracker = new EventTracker({ windowSize: undefined, lastEventId: undefined, identity: undefined })
      expect(tracker.lastEventId).to.equal('')
      expect(acceptAll(tracker, [event(1), event(1), event(1, 'y')])).to.deep.equal([true, false, true])
    })

    it('refuse a lastEventId that is not a string', () => {
      expect(make({ lastEventId: 5 })).to.throw(TypeError, /^lastEventId .*got 5/)
      expect(make({ lastEventId: {} })).to.throw(TypeError, /^lastEventId .*got \[object Object\]/)
      expect(make({ lastEventId: null })).to.throw(TypeError, /^lastEventId .*got null/)
    })

    for (const lastEventId of ['a\nb', '\r', '\0']) {
      it(`refuse the lastEventId ${JSON.stringify(lastEventId)}, and show it`, () => {
        expect(make({ lastEventId })).to.throw(RangeError, /^lastEventId must not hold CR, LF or NUL/)
        expect(make({ lastEventId })).to.throw(RangeError, `got ${JSON.stringify(lastEventId)}`)
      })
    }

    for (const identity of ['data', '', 5, null, true]) {
      it(`refuse the identity ${JSON.stringify(identity)}`, () => {
        expect(make({ identity })).to.throw(
          TypeError,
          /^identity must be 'id\+data', 'id' or a function, got /,
        )
        expect(make({ identity })).to.throw(TypeError, `got ${JSON.stringify(identity)}`)
      })
    }

    it('may be absent or undefined', () => {
      const tracker = new EventTracker({ windowSize: undefined, lastEventId: undefined, identity: undefined })
      expect(tracker.lastEventId).to.equal('')
      expect(acceptAll(tracker, [event(1), ...numbers(2, 1001), event(1)]).at(-1)).to.equal(false)
    })

    it('start where lastEventId says', () => {
      const tracker = new EventTracker({ lastEventId: '7' })
      expect(tracker.lastEventId).to.equal('7')
      expect(tracker.cursor).to.equal('7')
    })
  })

  describe('last event ID and cursor', () => {
    it('are empty and unknown at first', () => {
      const tracker = new EventTracker()
      expect(tracker.lastEventId).to.equal('')
      expect(tracker.cursor).to.equal(undefined)
    })

    it('move with an event that has an id, and with an id alone', () => {
      const tracker = new EventTracker()
      tracker.advance(event(1))
      expect([tracker.lastEventId, tracker.cursor]).to.deep.equal(['1', '1'])
      tracker.advance({ id: '2' })
      expect([tracker.lastEventId, tracker.cursor]).to.deep.equal(['2', '2'])
    })

    it('are inherited by an event without an id', () => {
      const tracker = new EventTracker({ lastEventId: '7' })
      tracker.advance({ data: 'x' })
      tracker.advance({ id: undefined, data: 'x' })
      expect([tracker.lastEventId, tracker.cursor]).to.deep.equal(['7', '7'])
    })

    it('are cleared by an empty id', () => {
      const tracker = new EventTracker({ lastEventId: '7' })
      tracker.advance({ id: '', data: 'x' })
      expect([tracker.lastEventId, tracker.cursor]).to.deep.equal(['', undefined])
    })

    it('move independently when a cursor is given', () => {
      const tracker = new EventTracker()
      tracker.advance(event(1), '100')
      expect([tracker.lastEventId, tracker.cursor]).to.deep.equal(['1', '100'])
      tracker.advance(event(2))
      expect([tracker.lastEventId, tracker.cursor]).to.deep.equal(['2', '100'])
      tracker.advance({ data: 'x' }, '101')
      expect([tracker.lastEventId, tracker.cursor]).to.deep.equal(['2', '101'])
      tracker.advance({ id: '', data: 'x' })
      expect([tracker.lastEventId, tracker.cursor]).to.deep.equal(['', '101'])
    })

    it('are stored completely, whatever their length', () => {
      const tracker = new EventTracker()
      for (const id of ['a', 'abcdefghijkl', 'abcdefghijklm', '日本'.repeat(20)]) {
        tracker.advance(event(id), `${id}c`)
        expect([tracker.lastEventId, tracker.cursor]).to.deep.equal([id, `${id}c`])
      }
    })

    it('do not move with accept, isDuplicate or opened', () => {
      const tracker = new EventTracker({ lastEventId: '7' })
      tracker.accept(event(8))
      tracker.isDuplicate(event(9))
      tracker.opened()
      expect([tracker.lastEventId, tracker.cursor]).to.deep.equal(['7', '7'])
    })
  })

  describe('identity', () => {
    const fresh = (identity: EventIdentity | undefined, first: SseEvent, second: SseEvent) => {
      const tracker = new EventTracker({ identity })
      expect(tracker.accept(first)).to.equal(true)
      const duplicate = tracker.isDuplicate(second)
      expect(tracker.accept(second)).to.equal(!duplicate)
      return !duplicate
    }

    it("'id+data', the default, compares id, type and data", () => {
      for (const identity of [undefined, 'id+data'] as const) {
        const first = { id: '1', event: 'a', data: 'x' }
        expect(fresh(identity, first, { ...first })).to.equal(false)
        expect(fresh(identity, first, { ...first, id: '2' })).to.equal(true)
        expect(fresh(identity, first, { ...first, event: 'b' })).to.equal(true)
        expect(fresh(identity, first, { ...first, data: 'y' })).to.equal(true)
        expect(fresh(identity, first, { ...first, lastEventId: '1' })).to.equal(false)
      }
    })

    it("'id+data' takes the default type for the same whether absent, empty or spelled out", () => {
      const types = [undefined, '', 'message']
      for (const a of types) {
        for (const b of types) {
          expect(
            fresh('id+data', { id: '1', event: a, data: 'x' }, { id: '1', event: b, data: 'x' }),
          ).to.equal(false)
        }
      }
      expect(fresh('id+data', event(1), { ...event(1), event: 'Message' })).to.equal(true)
    })

    it("'id+data' compares each field on its own", () => {
      expect(
        fresh('id+data', { id: 'a', event: 'bc', data: 'd' }, { id: 'ab', event: 'c', data: 'd' }),
      ).to.equal(true)
      expect(
        fresh('id+data', { id: 'a', event: 'b', data: 'cd' }, { id: 'a', event: 'bc', data: 'd' }),
      ).to.equal(true)
      expect(fresh('id+data', { id: 'a', data: '' }, { id: 'a', data: '\0' })).to.equal(true)
    })

    it("'id' compares ids alone", () => {
      const first = { id: '1', event: 'a', data: 'x' }
      expect(fresh('id', first, { id: '1', event: 'b', data: 'y' })).to.equal(false)
      expect(fresh('id', first, { ...first, id: '2' })).to.equal(true)
      expect(fresh('id', first, { ...first, id: '01' })).to.equal(true)
    })

    it('of a function is the key that it returns, also for events without an id', () => {
      const identity = ({ data }: SseEvent) => data?.split(':')[0]
      expect(fresh(identity, { data: 'a:1' }, { id: '7', data: 'a:2' })).to.equal(false)
      expect(fresh(identity, { id: '7', data: 'a:1' }, { id: '7', data: 'b:1' })).to.equal(true)
    })

    it('of a function that returns undefined does not exist; an empty key does', () => {
      expect(fresh(() => undefined, event(1), event(1))).to.equal(true)
      expect(fresh(() => '', event(1), event(2))).to.equal(false)
    })

    it('of a function must be a string, because all numbers would have one fingerprint', () => {
      for (const key of [1, null]) {
        // @ts-expect-error a key that is no string
        const tracker = new EventTracker({ identity: () => key })
        expect(() => tracker.accept({ data: 'x' })).to.throw(TypeError, new RegExp(`identity .*got ${key}`))
      }
    })

    it('requires fields that are strings, because all numbers would have one fingerprint', () => {
      const tracker = new EventTracker()
      // @ts-expect-error fields that are no strings
      const accept = (each: unknown) => tracker.accept(each)
      expect(() => accept({ id: 1, data: 'x' })).to.throw(TypeError, /\bid must be a string, got 1/)
      expect(() => accept({ id: '1', data: 1 })).to.throw(TypeError, /\bdata must be a string, got 1/)
      expect(() => accept({ id: '1', event: 1, data: 'x' })).to.throw(
        TypeError,
        /\bevent must be a string, got 1/,
      )
    })

    it('does not call the function for a block with an id alone', () => {
      const identity = () => {
        throw new Error('asked')
      }
      expect(fresh(identity, { id: '1' }, { id: '2' })).to.equal(true)
      expect(fresh(identity, { id: '1' }, { id: '1' })).to.equal(false)
    })

    it('of a block with an id alone differs from the identity of an event with the same id', () => {
      for (const identity of ['id', 'id+data', ({ id }: SseEvent) => id] as const) {
        expect(fresh(identity, { id: '1' }, { id: '1', data: '' })).to.equal(true)
        expect(fresh(identity, { id: '1', data: '' }, { id: '1' })).to.equal(true)
        expect(fresh(identity, { id: '1' }, { id: '1' })).to.equal(false)
      }
    })

    it('does not exist for an event without an id, or with an empty id', () => {
      for (const identity of ['id', 'id+data'] as const) {
        for (const id of [undefined, '']) {
          expect(fresh(identity, { id, data: 'x' }, { id, data: 'x' })).to.equal(true)
        }
        expect(fresh(identity, { id: '' }, { id: '' })).to.equal(true)
      }
    })
  })

  describe('duplicates', () => {
    it('are counted by accept', () => {
      const tracker = new EventTracker()
      expect(tracker.duplicates).to.equal(0)
      acceptAll(tracker, [event(1), event(2), event(1), event(1), { data: 'x' }, { data: 'x' }])
      expect(tracker.duplicates).to.equal(2)
    })

    it('are neither remembered nor counted by isDuplicate', () => {
      const tracker = new EventTracker({ windowSize: 2 })
      expect(tracker.isDuplicate(event(1))).to.equal(false)
      expect(tracker.isDuplicate(event(1))).to.equal(false)
      acceptAll(tracker, [event(1), event(2)])
      for (const n of [3, 4, 5]) tracker.isDuplicate(event(n))
      expect(tracker.isDuplicate(event(1))).to.equal(true)
      expect(tracker.duplicates).to.equal(0)
      expect(tracker.accept(event(3))).to.equal(true)
    })

    it('are not added to the window', () => {
      const tracker = new EventTracker({ windowSize: 2 })
      acceptAll(tracker, [event(1), event(2), event(2), event(2), event(2)])
      expect(tracker.isDuplicate(event(1))).to.equal(true)
    })

    it('do not make an event stay longer in the window', () => {
      const tracker = new EventTracker({ windowSize: 2 })
      acceptAll(tracker, [event(1), event(2), event(1), event(3)])
      expect(tracker.isDuplicate(event(1))).to.equal(false)
    })
  })

  describe('window', () => {
    for (const windowSize of [1, 2, 31, 32, 33, 63, 64, 65, 100, 1000]) {
      it(`of ${windowSize} finds the event ${windowSize} events ago, and no earlier event`, () => {
        const tracker = new EventTracker({ windowSize })
        // Ends at places all over a ring that has grown, was filled, and has come round.
        for (let n = 1; n <= 3 * windowSize + 40; n++) {
          expect(tracker.accept(event(n))).to.equal(true)
          if (n >= windowSize) expect(tracker.isDuplicate(event(n - windowSize + 1)), `${n}`).to.equal(true)
          if (n > windowSize) expect(tracker.isDuplicate(event(n - windowSize)), `${n}`).to.equal(false)
        }
      })
    }

    it('finds all of its events while the ring buffer grows', () => {
      const tracker = new EventTracker({ windowSize: 1000 })
      for (let n = 0; n < 200; n++) {
        tracker.accept(event(n))
        for (let past = 0; past <= n; past++) expect(tracker.isDuplicate(event(past))).to.equal(true)
      }
    })

    it('is 1000 events by default', () => {
      const tracker = new EventTracker()
      acceptAll(tracker, numbers(0, 1001))
      expect(tracker.isDuplicate(event(1))).to.equal(true)
      expect(tracker.isDuplicate(event(0))).to.equal(false)
    })
  })

  describe('driven by a source', () => {
    it('does not look for repeats on the first connection', () => {
      const tracker = driven([event(1)])
      expect(tracker.isDuplicate(event(1))).to.equal(false)
      expect(tracker.accept(event(1))).to.equal(true)
      expect(tracker.duplicates).to.equal(0)
    })

    it('looks for repeats on a later connection even if no earlier connection brought an event', () => {
      const tracker = driven([])
      tracker.opened()
      expect(acceptAll(tracker, [event(1), event(1)])).to.deep.equal([true, false])
    })

    it('looks for repeats on the next connection', () => {
      const tracker = driven([event(1), event(2)])
      tracker.opened()
      expect(tracker.isDuplicate(event(1))).to.equal(true)
      expect(acceptAll(tracker, [event(1), event(2), event(3), event(3)])).to.deep.equal([
        false,
        false,
        true,
        false,
      ])
      expect(tracker.duplicates).to.equal(3)
    })

    it('looks for repeats until the window holds only events of the live connection', () => {
      const windowSize = 40
      const tracker = driven(numbers(0, 100), windowSize)
      tracker.opened()
      acceptAll(tracker, numbers(100, 100 + windowSize - 1))
      expect(tracker.isDuplicate(event(99))).to.equal(true)
      expect(tracker.accept(event(100))).to.equal(false)
      tracker.accept(event('last'))
      expect(tracker.isDuplicate(event('last'))).to.equal(false)
      expect(tracker.accept(event('last'))).to.equal(true)
    })

    it('looks for repeats again on the connection after that, and finds the events in between', () => {
      const tracker = driven(numbers(0, 10), 5)
      tracker.opened()
      acceptAll(tracker, numbers(10, 20))
      expect(tracker.isDuplicate(event(19))).to.equal(false)
      tracker.opened()
      expect(tracker.isDuplicate(event(14))).to.equal(false)
      expect(acceptAll(tracker, numbers(15, 21))).to.deep.equal([false, false, false, false, false, true])
    })

    it('finds all but the oldest of a replay that is longer than the window by one', () => {
      const windowSize = 50
      const tracker = driven(numbers(0, windowSize + 1), windowSize)
      tracker.opened()
      const fresh = acceptAll(tracker, numbers(0, windowSize + 1))
      expect(fresh.filter(Boolean)).to.have.lengthOf(1)
      expect(fresh[0]).to.equal(true)
    })

    it('continues to look for repeats when connections open one after another', () => {
      const tracker = driven(numbers(0, 10), 10)
      for (let round = 0; round < 5; round++) {
        tracker.opened()
        expect(acceptAll(tracker, numbers(0, 10)).includes(true)).to.equal(false)
      }
      expect(tracker.duplicates).to.equal(50)
    })

    it('looks for repeats from the first connection on when its window is not empty', () => {
      const tracker = new EventTracker()
      tracker.accept(event(1))
      tracker.opened()
      expect(tracker.accept(event(1))).to.equal(false)
    })
  })

  it('always looks for repeats when no source drives it', () => {
    const tracker = new EventTracker({ windowSize: 10 })
    acceptAll(tracker, numbers(0, 100))
    expect(acceptAll(tracker, numbers(90, 100)).includes(true)).to.equal(false)
  })

  it('agrees with a plain list of the events, for any events, connections and window', () => {
    const events: fc.Arbitrary<SseEvent> = fc.record({
      id: fc.option(fc.nat(120).map(String), { nil: undefined, freq: 20 }),
      event: fc.constantFrom(undefined, undefined, 'a'),
      data: fc.constantFrom('x', 'x', 'x', 'y', undefined),
    })
    const step = fc.oneof(
      { arbitrary: events, weight: 40 },
      // A run of ids, as a replay brings it.
      {
        arbitrary: fc.tuple(fc.nat(100), fc.nat(40)).map(([from, size]) => numbers(from, from + size)),
        weight: 4,
      },
      { arbitrary: fc.constant('opened' as const), weight: 1 },
    )
    const windowSizes = fc.oneof(fc.constantFrom(1, 2, 31, 32, 33, 64), fc.integer({ min: 1, max: 100 }))
    fc.assert(
      fc.property(windowSizes, fc.array(step, { maxLength: 60, size: 'max' }), (windowSize, steps) => {
        const tracker = new EventTracker({ windowSize })
        const passedOn: string[] = []
        /** Where the window starts; on a connection it stays there until it has turned over. */
        let from = 0
        /** How many more events are looked up. */
        let left = Number.POSITIVE_INFINITY
        let duplicates = 0
        const acceptOne = (each: SseEvent) => {
          const { id, event: type, data } = each
          const key =
            id === undefined ? undefined : JSON.stringify([id, data === undefined ? null : type, data])
          if (left === Number.POSITIVE_INFINITY) from = Math.max(0, passedOn.length - windowSize)
          const duplicate = left > 0 && key !== undefined && passedOn.slice(from).includes(key)
          expect(tracker.isDuplicate(each)).to.equal(duplicate)
          expect(tracker.accept(each)).to.equal(!duplicate)
          if (duplicate) duplicates++
          else {
            if (left > 0) left--
            if (key !== undefined) passedOn.push(key)
          }
        }
        for (const each of steps) {
          if (each === 'opened') {
            from = Math.max(0, passedOn.length - windowSize)
            left = left === Number.POSITIVE_INFINITY && passedOn.length === 0 ? 0 : windowSize
            tracker.opened()
          } else if (Array.isArray(each)) {
            each.forEach(acceptOne)
          } else {
            acceptOne(each)
          }
        }
        expect(tracker.duplicates).to.equal(duplicates)
      }),
      { numRuns: 500 },
    )
  })

  it('stops looking for repeats after as many events as the window holds, even if no event has an id', () => {
    const tracker = driven([event(1)], 10)
    tracker.opened()
    const answers = Array.from({ length: 9 }, () => tracker.accept({ data: 'x' }))
    expect(answers.includes(false)).to.equal(false)
    expect(tracker.isDuplicate(event(1))).to.equal(true)
    tracker.accept({ data: 'x' })
    expect(tracker.isDuplicate(event(1))).to.equal(false)
    expect(tracker.looksUp).to.equal(false)
  })

  describe('tells all of 200,000 events apart', () => {
    const count = 200_000
    const series: readonly [string, (n: number) => SseEvent][] = [
      ['ids that count, the same data', (n) => event(n)],
      ['ids that count behind a long prefix', (n) => event(`0190c8a2-7b1e-7000-8000-${n}`)],
      ['ids of a Redis stream', (n) => event(`${1700000000000 + (n >> 4)}-${n % 16}`)],
      ['ids padded with zeros', (n) => event(String(n).padStart(20, '0'))],
      ['one id, data that counts', (n) => event(1, `{"sequence":${n},"price":100}`)],
      [
        'ids of two characters beyond Latin-1',
        (n) => event(String.fromCharCode(0x4e00 + (n % 20000), 0xac00 + Math.floor(n / 20000))),
      ],
      ['ids of one bit in many', (n) => event(n.toString(2))],
      [
        'ids that differ in bit 15 of their code units only',
        (n) =>
          event(
            String.fromCharCode(...Array.from({ length: 18 }, (_, bit) => 0x0100 | (((n >> bit) & 1) << 15))),
          ),
      ],
    ]
    for (const [name, make] of series) {
      it(`with ${name}`, () => {
        const tracker = new EventTracker({ windowSize: count })
        for (let n = 0; n < count; n++) {
          if (!tracker.accept(make(n))) expect.fail(`event ${n} was taken for another`)
        }
        expect(tracker.isDuplicate(make(0))).to.equal(true)
      })
    }
  })
})
