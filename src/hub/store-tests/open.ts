import assert from 'node:assert/strict'
import { comparePositions, positionOf } from '../store.ts'
import { type Bench, end, events, long, type Opened, type StoreCase, short } from './bench.ts'

/** What a store answers to `open`, and what it appends. */
export const openCases: readonly StoreCase[] = [
  {
    title: 'opens a stream that does not exist, with an entry and with nothing before it',
    async run(bench) {
      const stream = bench.name()
      const { epoch, previous } = await bench.open(stream, 'owner')
      assert.ok(Number.isSafeInteger(epoch) && epoch > 0, 'an epoch is a positive whole number')
      assert.equal(previous, undefined)
      const [entry, ...others] = await bench.all(stream)
      assert.equal(others.length, 0)
      assert.ok(entry?.kind === 'open', 'the first entry is of the kind open')
      assert.equal(entry.epoch, epoch)
      assert.equal(entry.previous, undefined)
      assert.ok(entry.at > Date.UTC(2020), 'an entry says when it was made')
    },
  },
  {
    title: 'gives each later owner a higher epoch, and the position of the entry before it',
    async run(bench) {
      const stream = bench.name()
      const first = await bench.open(stream, 'first')
      await bench.append(stream, events(first.epoch, 1, 2))
      await bench.append(stream, events(first.epoch, 3, 7))
      await bench.giveUp(stream, 'first')
      const second = await bench.open(stream, 'second')
      isAfter(second, first, 7)
      await bench.giveUp(stream, 'second')
      const third = await bench.open(stream, 'third')
      isAfter(third, second, 0)
      const opens = (await bench.all(stream)).filter(({ kind }) => kind === 'open')
      assert.deepEqual(
        opens.map((entry) => entry.kind === 'open' && entry.previous),
        [undefined, { epoch: first.epoch, seq: 7 }, { epoch: second.epoch, seq: 0 }],
      )
    },
  },
  {
    title: 'answers held to every other owner while the lease lasts, and appends nothing',
    async run(bench) {
      const stream = bench.name()
      await bench.open(stream, 'owner')
      const before = await bench.all(stream)
      const result = await bench.store.open(stream, 'another', { lease: short, keepFor: short })
      assert.ok(result.state === 'held', `held, not ${result.state}`)
      assert.ok(
        result.retryAfter > 0 && result.retryAfter <= long,
        `${result.retryAfter} is within the lease`,
      )
      await bench.has(stream, before)
    },
  },
  {
    title: 'opens the stream for another owner when the lease has run out',
    async run(bench) {
      const stream = bench.name()
      const first = await bench.open(stream, 'first', short)
      isAfter(await bench.takeOver(stream, 'second'), first, 0)
      await bench.isHeld(stream, 'first')
    },
  },
  {
    title: 'gives the lease to one of many owners that ask for it at once',
    async run(bench) {
      const stream = bench.name()
      await onlyOne(bench, stream)
      const [entry] = await bench.all(stream)
      for (let n = 0; n < 10; n++) await bench.giveUp(stream, `owner ${n}`)
      await onlyOne(bench, stream)
      assert.equal((await bench.all(stream)).length, 2)
      assert.equal((await bench.all(stream))[0]?.epoch, entry?.epoch)
    },
  },
  {
    title: 'repeats its answer to an owner that opens the stream again, and appends nothing',
    async run(bench) {
      const stream = bench.name()
      const earlier = await bench.open(stream, 'earlier')
      await bench.append(stream, events(earlier.epoch, 1, 3))
      await bench.giveUp(stream, 'earlier')
      const opened = await bench.open(stream, 'owner')
      isSame(await bench.open(stream, 'owner'), opened)
      await bench.append(stream, events(opened.epoch, 1))
      const before = await bench.all(stream)
      isSame(await bench.open(stream, 'owner'), opened)
      await bench.has(stream, before)
      await bench.append(stream, events(opened.epoch, 2))
      await bench.isHeld(stream)
    },
  },
  {
    title: 'gives one epoch to an owner whose calls arrive at once',
    async run(bench) {
      const stream = bench.name()
      const [one, ...others] = await Promise.all([1, 2, 3].map(() => bench.open(stream, 'owner')))
      for (const other of others) assert.deepEqual(other.epoch, one?.epoch)
      assert.equal((await bench.all(stream)).length, 1)
    },
  },
  {
    title:
      'repeats its answer when the lease has run out and no other owner has followed, and renews the lease',
    async run(bench) {
      const stream = bench.name()
      const opened = await bench.open(stream, 'owner', short)
      await bench.pass(short)
      isSame(await bench.open(stream, 'owner'), opened)
      await bench.isHeld(stream)
      assert.equal((await bench.all(stream)).length, 1)
    },
  },
  {
    title: 'gives a new epoch to an owner that has given its lease up',
    async run(bench) {
      const stream = bench.name()
      const first = await bench.open(stream, 'owner')
      await bench.giveUp(stream, 'owner')
      isAfter(await bench.open(stream, 'owner'), first, 0)
    },
  },
  {
    title: 'gives a new epoch to an owner that others have followed',
    async run(bench) {
      const stream = bench.name()
      await bench.open(stream, 'first', short)
      const second = await bench.takeOver(stream, 'second')
      await bench.isHeld(stream, 'first')
      await bench.giveUp(stream, 'second')
      isAfter(await bench.open(stream, 'first'), second, 0)
    },
  },
  {
    title: 'ends a stream by force, whoever holds the lease, and fences the owner',
    async run(bench) {
      const stream = bench.name()
      const opened = await bench.open(stream, 'owner')
      await bench.append(stream, events(opened.epoch, 1, 2))
      const forced = await force(bench, stream, 'stop\n"now" é😀')
      assert.ok(forced.state === 'open', `open, not ${forced.state}`)
      isAfter(forced, opened, 2)
      const last = (await bench.all(stream)).at(-1)
      assert.ok(last?.kind === 'end', 'the last entry is of the kind end')
      const { how, epoch, previous, reason } = last
      assert.deepEqual(
        { how, epoch, previous, reason },
        {
          how: 'cancelled',
          epoch: forced.epoch,
          previous: { epoch: opened.epoch, seq: 2 },
          reason: 'stop\n"now" é😀',
        },
      )
      await bench.isFenced(stream, events(opened.epoch, 3))
      await bench.isFenced(stream, end(opened.epoch, { epoch: opened.epoch, seq: 2 }))
      assert.equal((await bench.store.renew(stream, 'owner', long, long)).held, false)
      await isEnded(bench, stream)
    },
  },
  {
    title: 'ends a stream by force that has no owner, also with an empty reason',
    async run(bench) {
      const stream = bench.name()
      await bench.open(stream, 'owner')
      await bench.giveUp(stream, 'owner')
      assert.equal((await force(bench, stream, '')).state, 'open')
      const last = (await bench.all(stream)).at(-1)
      assert.ok(last?.kind === 'end')
      assert.equal(last.reason, '')
      await isEnded(bench, stream)
    },
  },
  {
    title: 'answers ended to a force on a stream that does not exist, and creates nothing',
    async run(bench) {
      const stream = bench.name()
      assert.deepEqual(await force(bench, stream, 'stop'), { state: 'ended' })
      await bench.has(stream, [])
      assert.equal((await bench.open(stream, 'owner')).previous, undefined)
    },
  },
  {
    title: 'answers ended to every owner when the stream has ended',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner')
      await bench.append(stream, end(epoch, { epoch, seq: 0 }))
      await isEnded(bench, stream)
      await bench.giveUp(stream, 'owner')
      await isEnded(bench, stream)
    },
  },
  {
    title: 'gives a higher epoch to a log that is created again',
    async run(bench) {
      const stream = bench.name()
      const first = await bench.open(stream, 'owner')
      await bench.append(stream, events(first.epoch, 1))
      await bench.giveUp(stream, 'owner', short)
      await bench.isGone(stream)
      const second = await bench.open(stream, 'owner')
      assert.ok(second.epoch > first.epoch, `${second.epoch} is above ${first.epoch}`)
      assert.equal(second.previous, undefined)
      await bench.isFenced(stream, events(first.epoch, 2))
      const entries = await bench.all(stream)
      assert.deepEqual(entries.map(positionOf), [{ epoch: second.epoch, seq: 0 }])
    },
  },
]

function force(bench: Bench, stream: string, reason: string) {
  return bench.store.open(stream, 'canceller', { lease: long, keepFor: long, force: reason })
}

function isAfter(opened: Opened, before: Opened, seq: number): void {
  assert.ok(opened.previous, 'there is an entry before')
  assert.equal(comparePositions(opened.previous, { epoch: before.epoch, seq }), 0)
  assert.ok(opened.epoch > before.epoch, `${opened.epoch} is above ${before.epoch}`)
}

function isSame(again: Opened, opened: Opened): void {
  assert.equal(again.epoch, opened.epoch)
  assert.equal(again.previous?.epoch, opened.previous?.epoch)
  assert.equal(again.previous?.seq, opened.previous?.seq)
}

async function onlyOne(bench: Bench, stream: string): Promise<void> {
  const owners = Array.from({ length: 10 }, (_, n) => `owner ${n}`)
  const answers = await Promise.all(
    owners.map((owner) => bench.store.open(stream, owner, { lease: long, keepFor: long })),
  )
  const states = answers.map(({ state }) => state).sort()
  assert.deepEqual(states, [...Array.from({ length: 9 }, () => 'held'), 'open'])
}

/** Expects that no call opens, ends or changes a stream. */
async function isEnded(bench: Bench, stream: string): Promise<void> {
  const before = await bench.all(stream)
  for (const owner of ['owner', 'another']) {
    assert.equal((await bench.store.open(stream, owner, { lease: long, keepFor: long })).state, 'ended')
  }
  assert.equal((await force(bench, stream, 'again')).state, 'ended')
  await bench.has(stream, before)
}
