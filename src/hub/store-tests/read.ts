import assert from 'node:assert/strict'
import { type Entry, type Position, positionOf } from '../store.ts'
import { afterEnd, type Bench, end, events, type StoreCase, sameEntries } from './bench.ts'

/** What a store reads from each position, and how much. */
export const readCases: readonly StoreCase[] = [
  {
    title: 'reads nothing of a stream that does not exist',
    async run(bench) {
      const stream = bench.name()
      for (const from of ['first', 'last', { epoch: 0, seq: 0 }, { epoch: 5, seq: 3 }] as const) {
        assert.deepEqual([...(await bench.store.read(stream, from, 1000))], [])
      }
    },
  },
  {
    title: 'reads from the first entry, or the last entry alone',
    async run(bench) {
      const { stream, log } = await twoEpochs(bench)
      sameEntries(await bench.store.read(stream, 'first', 1_000_000), log)
      for (const limit of [0, 1, 1_000_000]) {
        sameEntries(await bench.store.read(stream, 'last', limit), log.slice(-1))
      }
    },
  },
  {
    title: 'reads the entries that end at or after a position, wherever the position is',
    async run(bench) {
      const { stream, log, first, second } = await twoEpochs(bench)
      const places: readonly (readonly [Position, number])[] = [
        [{ epoch: 0, seq: 0 }, 0],
        [{ epoch: first - 1, seq: 12 }, 0],
        [{ epoch: first, seq: 0 }, 0],
        [{ epoch: first, seq: 1 }, 1],
        [{ epoch: first, seq: 2 }, 1],
        [{ epoch: first, seq: 3 }, 1],
        [{ epoch: first, seq: 4 }, 2],
        [{ epoch: first, seq: 5 }, 3],
        [{ epoch: first, seq: 9 }, 3],
        [{ epoch: first, seq: 10 }, 4],
        [{ epoch: first, seq: 1_000_000 }, 4],
        [{ epoch: first, seq: Number.MAX_SAFE_INTEGER }, 4],
        [{ epoch: second, seq: 0 }, 4],
        [{ epoch: second, seq: 1 }, 5],
        [{ epoch: second, seq: 2 }, 6],
        [{ epoch: second, seq: Number.MAX_SAFE_INTEGER }, 6],
        [afterEnd(second), 7],
        [{ epoch: second + 1, seq: 0 }, 7],
        [{ epoch: second + 1_000_000, seq: 1 }, 7],
      ]
      for (const [from, index] of places) {
        sameEntries(await bench.store.read(stream, from, 1_000_000), log.slice(index))
      }
    },
  },
  {
    title: 'reads nothing after the latest entry of a stream that goes on',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner')
      sameEntries(await bench.store.read(stream, { epoch, seq: 1 }, 1000), [])
      const entry = events(epoch, 1, 3)
      await bench.append(stream, entry)
      sameEntries(await bench.store.read(stream, { epoch, seq: 3 }, 1000), [entry])
      sameEntries(await bench.store.read(stream, { epoch, seq: 4 }, 1000), [])
    },
  },
  {
    title: 'reads no more bytes than the limit, but at least one entry, and in the end every entry once',
    async run(bench) {
      const { stream, log } = await sized(bench, [100, 50, 1, 0, 300, 20, 20, 20, 70_000, 5])
      for (const limit of [0, 1, 20, 60, 100, 150, 151, 301, 70_000, 1_000_000]) {
        sameEntries(await bench.all(stream, limit), log)
        for (const entry of log) {
          const entries = await bench.store.read(stream, positionOf(entry), limit)
          assert.ok(entries.length > 0, 'at least one entry is read')
          const bytes = entries.reduce(
            (sum, each) => sum + (each.kind === 'events' ? each.bytes.length : 0),
            0,
          )
          assert.ok(bytes <= limit || entries.length === 1, `${bytes} bytes are within ${limit}`)
        }
      }
    },
  },
  {
    title: 'reads a long log in order',
    async run(bench) {
      const { stream, log } = await sized(
        bench,
        Array.from({ length: 500 }, (_, n) => n % 40),
      )
      sameEntries(await bench.all(stream), log)
      sameEntries(await bench.all(stream, 1000), log)
      for (const entry of log.filter((_, n) => n % 50 === 0)) {
        const [first] = await bench.store.read(stream, positionOf(entry), 100)
        sameEntries(first ? [first] : [], [entry])
      }
    },
  },
  {
    title: 'reads what is stored once an append is answered',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner')
      for (let seq = 1; seq <= 50; seq++) {
        const entry = events(epoch, seq)
        await bench.append(stream, entry)
        sameEntries(await bench.store.read(stream, 'last', 1), [entry])
      }
    },
  },
  {
    title: 'reads on from an entry while others are removed',
    async run(bench) {
      const { stream, log, epoch } = await sized(bench, [1000, 1000, 1000, 1000])
      const next = events(epoch, 5)
      await bench.append(stream, next, { epoch, seq: 4 })
      sameEntries(await bench.store.read(stream, { epoch, seq: 4 }, 1_000_000), [...log.slice(-1), next])
      const [oldest] = await bench.store.read(stream, { epoch, seq: 0 }, 1)
      const [first] = await bench.store.read(stream, 'first', 1)
      sameEntries(oldest ? [oldest] : [], first ? [first] : [])
    },
  },
]

/** A log of two epochs that has ended. */
async function twoEpochs(bench: Bench) {
  const stream = bench.name()
  const { epoch: first } = await bench.open(stream, 'first')
  await bench.append(stream, events(first, 1, 3))
  await bench.append(stream, events(first, 4))
  await bench.append(stream, events(first, 5, 9))
  await bench.giveUp(stream, 'first')
  const { epoch: second } = await bench.open(stream, 'second')
  await bench.append(stream, events(second, 1))
  await bench.append(stream, end(second, { epoch: second, seq: 1 }))
  const log = await bench.all(stream)
  assert.equal(log.length, 7)
  return { stream, log, first, second }
}

/** A log of one epoch whose entries have these numbers of bytes. */
async function sized(bench: Bench, sizes: readonly number[]) {
  const stream = bench.name()
  const { epoch } = await bench.open(stream, 'owner')
  const [open] = await bench.all(stream)
  const log: Entry[] = open ? [open] : []
  for (const [index, size] of sizes.entries()) {
    const entry = events(epoch, index + 1, index + 1, Buffer.alloc(size, 'x'))
    log.push(entry)
    await bench.append(stream, entry)
  }
  return { stream, log, epoch }
}
