import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { type AppendResult, comparePositions, type Entry, type EventsEntry, positionOf } from '../store.ts'
import { type Bench, events, type StoreCase } from './bench.ts'

const owners = 5
const rounds = 25

/** That the entries of owners which do not know of each other never mix. */
export const ownerCases: readonly StoreCase[] = [
  {
    title:
      'keeps the epochs of owners apart that pause, repeat calls and do not know that they were followed',
    async run(bench) {
      const stream = bench.name()
      const answers = new Answers()
      const results = await Promise.allSettled(
        Array.from({ length: owners }, (_, n) =>
          own(bench, stream, `owner ${n}`, random(bench.seed + n), answers),
        ),
      )
      // Only now: the store is closed after a failure, and no owner may call it then.
      for (const result of results) if (result.status === 'rejected') throw result.reason
      const log = await bench.all(stream)
      isOrdered(log, bench.seed)
      answers.agreeWith(log, bench.seed)
    },
  },
  {
    title: 'keeps the entries of one owner in order while others ask for the lease',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner')
      let isOver = false
      const others = Array.from({ length: 3 }, async (_, n) => {
        while (!isOver) {
          await bench.isHeld(stream, `other ${n}`)
          await delay(1)
        }
      })
      const [open] = await bench.all(stream)
      const log: Entry[] = open ? [open] : []
      try {
        for (let seq = 1; seq <= 100; seq++) {
          const entry = events(epoch, seq)
          log.push(entry)
          await bench.append(stream, entry)
        }
      } finally {
        isOver = true
        await Promise.all(others)
      }
      await bench.has(stream, log)
    },
  },
]

/** What the owners were answered. */
class Answers {
  readonly stored = new Set<string>()
  readonly sent = new Map<string, EventsEntry>()

  add(entry: EventsEntry, answer: AppendResult): void {
    const key = keyOf(entry)
    this.sent.set(key, entry)
    if (answer === 'stored') this.stored.add(key)
  }

  /** Expects just the entries whose append was answered with `stored`, as they were sent. */
  agreeWith(log: readonly Entry[], seed: number): void {
    const found = log.filter((entry) => entry.kind === 'events')
    assert.ok(found.length > 0, `seed ${seed}: no owner has appended anything`)
    assert.deepEqual(found.map(keyOf).sort(), [...this.stored].sort(), `seed ${seed}`)
    for (const entry of found)
      assert.deepEqual(entry.bytes, this.sent.get(keyOf(entry))?.bytes, `seed ${seed}`)
  }
}

const keyOf = ({ epoch, first, last }: EventsEntry) => `${epoch}-${first}-${last}`

/** Opens a stream again and again, and appends until it learns that it was followed. */
async function own(
  bench: Bench,
  stream: string,
  owner: string,
  next: () => number,
  answers: Answers,
): Promise<void> {
  const { store } = bench
  for (let round = 0; round < rounds; round++) {
    const name = `${owner}, round ${round}`
    const { epoch } = await bench.takeOver(stream, name, 1 + Math.floor(next() * 20))
    for (let seq = 1; next() < 0.9; ) {
      const last = seq + Math.floor(next() * 3)
      const entry = events(epoch, seq, last, Buffer.from(`${name}: ${seq}`))
      seq = last + 1
      const calls = Array.from({ length: next() < 0.2 ? 2 : 1 }, () => store.append(stream, entry))
      const results = await Promise.all(calls)
      for (const result of results) answers.add(entry, result)
      if (results.includes('fenced')) break
      // A pause may be longer than the lease; the owner then goes on as before.
      if (next() < 0.1) await delay(Math.floor(next() * 30))
      if (next() < 0.1) await store.renew(stream, name, 1 + Math.floor(next() * 20), 600_000)
    }
    if (next() < 0.5) await bench.giveUp(stream, name)
  }
}

/** Expects that epochs rise, that each is in one piece, and that its events are numbered without a gap. */
function isOrdered(log: readonly Entry[], seed: number): void {
  let before: Entry | undefined
  for (const entry of log) {
    const place = before && positionOf(before)
    const message = `seed ${seed}: ${JSON.stringify(entry)} after ${JSON.stringify(place)}`
    if (entry.kind === 'events') {
      assert.equal(place?.epoch, entry.epoch, message)
      assert.equal(place.seq + 1, entry.first, message)
    } else if (place) {
      assert.ok(entry.epoch > place.epoch, message)
      assert.ok(entry.previous && comparePositions(entry.previous, place) === 0, message)
    } else assert.equal(entry.previous, undefined, message)
    before = entry
  }
}

/** Numbers from 0 to 1 that a seed decides: a linear congruential generator. */
function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
