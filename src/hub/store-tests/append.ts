import assert from 'node:assert/strict'
import { comparePositions, type EndEntry, type Entry, type EventsEntry, positionOf } from '../store.ts'
import { type Bench, end, events, type StoreCase, sameEntries, short } from './bench.ts'

/** Every byte there is, a NUL among them: the bytes need not be text for the store. */
const allBytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
const texts = ['', ' ', 'é😀', 'a\r\nb\0c', '{"a":"b"}', '1-2/3', 'x'.repeat(10_000), undefined]

/** What a store appends, refuses and removes. */
export const appendCases: readonly StoreCase[] = [
  {
    title: 'returns every field of an entry with events, byte for byte',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      const bodies = [
        allBytes,
        Buffer.alloc(0),
        Buffer.from('data: é😀\n\n'),
        Buffer.alloc(1_000_000, allBytes),
      ]
      const entries = texts.map((cursor, n): EventsEntry => {
        const first = n * 10 + 1
        const entry = events(epoch, first, first + 9, bodies[n % bodies.length])
        return { ...entry, at: 1_700_000_000_000 + n, cursor, gap: n % 3 === 0 }
      })
      for (const entry of entries) await bench.append(stream, entry)
      const [, ...stored] = await bench.all(stream)
      sameEntries(stored, entries)
    },
  },
  {
    title: 'returns every field of an entry that ends a stream',
    async run(bench) {
      const ends: Partial<EndEntry>[] = [
        { how: 'ended' },
        { how: 'failed' },
        { how: 'cancelled', reason: '' },
        ...[allBytes, Buffer.alloc(0), Buffer.alloc(65_536, allBytes)].map((body): Partial<EndEntry> => {
          return { how: 'failed', body }
        }),
        ...texts.map((text, n): Partial<EndEntry> => {
          return { how: 'failed', code: `CODE_${n}`, status: 400 + n, fields: `a: ${text}`, reason: text }
        }),
      ]
      for (const fields of ends) {
        const [stream, epoch] = await opened(bench)
        await bench.append(stream, events(epoch, 1, 5))
        const entry = end(epoch, { epoch, seq: 5 }, fields)
        await bench.append(stream, entry)
        sameEntries(await bench.store.read(stream, 'last', 1), [entry])
      }
    },
  },
  {
    title: 'returns the numbers of events up to the greatest there are',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      const most = Number.MAX_SAFE_INTEGER - 1
      const entries = [
        events(epoch, 1, 9, allBytes),
        events(epoch, 10, 99, allBytes),
        events(epoch, 100, most, allBytes),
      ]
      for (const entry of entries) await bench.append(stream, entry)
      const [, ...stored] = await bench.all(stream)
      sameEntries(stored, entries)
    },
  },
  {
    title: 'stores the latest entry again, and appends nothing',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      const entries = [events(epoch, 1, 2), events(epoch, 3), end(epoch, { epoch, seq: 3 })]
      for (const entry of entries) {
        await bench.append(stream, entry)
        await bench.append(stream, entry)
        await Promise.all([bench.append(stream, entry), bench.append(stream, { ...entry })])
      }
      const [, ...stored] = await bench.all(stream)
      sameEntries(stored, entries)
    },
  },
  {
    title: 'appends an entry once that arrives twice at once',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      const entries = Array.from({ length: 20 }, (_, n) => events(epoch, n + 1))
      for (const entry of entries)
        await Promise.all([bench.append(stream, entry), bench.append(stream, entry)])
      const [, ...stored] = await bench.all(stream)
      sameEntries(stored, entries)
    },
  },
  {
    title: 'appends nothing for an earlier entry that arrives again',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      const entries = [events(epoch, 1, 2), events(epoch, 3), events(epoch, 4, 6)]
      for (const entry of entries) await bench.append(stream, entry)
      for (const entry of entries.slice(0, 2)) await bench.store.append(stream, entry)
      const [, ...stored] = await bench.all(stream)
      sameEntries(stored, entries)
    },
  },
  {
    title: 'fences an owner after a later epoch was opened, also for an entry that it has stored before',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      await bench.append(stream, events(epoch, 1))
      await bench.giveUp(stream, 'owner')
      const second = await bench.open(stream, 'second')
      const before = await bench.all(stream)
      await isRefused(bench, stream, epoch, before)
      await bench.isFenced(stream, events(epoch, 1))
      await bench.append(stream, events(second.epoch, 1))
      await isRefused(bench, stream, epoch, await bench.all(stream))
    },
  },
  {
    title: 'lets an owner append whose lease has run out, until another owner opens the stream',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner', short)
      await bench.pass(short)
      await bench.append(stream, events(epoch, 1))
      await bench.open(stream, 'second')
      await bench.isFenced(stream, events(epoch, 2))
    },
  },
  {
    title: 'fences an append to a log that does not exist, and creates none',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(bench.name(), 'owner')
      await isRefused(bench, stream, epoch, [])
      assert.equal((await bench.open(stream, 'owner')).previous, undefined)
    },
  },
  {
    title: 'fences an append to a log that is no longer kept, and creates none',
    async run(bench) {
      const stream = bench.name()
      const { epoch } = await bench.open(stream, 'owner')
      await bench.append(stream, events(epoch, 1))
      await bench.store.renew(stream, 'owner', 1, short)
      await bench.isGone(stream)
      await isRefused(bench, stream, epoch, [])
      assert.equal((await bench.store.renew(stream, 'owner', 1000, 1000)).held, false)
      await bench.has(stream, [])
    },
  },
  {
    title: 'appends nothing after the entry that ends a stream',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      await bench.append(stream, events(epoch, 1))
      await bench.append(stream, end(epoch, { epoch, seq: 1 }))
      const before = await bench.all(stream)
      await bench.isFenced(stream, events(epoch, 2))
      await bench.isFenced(stream, events(epoch, 1))
      await bench.has(stream, before)
    },
  },
  {
    title: 'removes no entry that ends at or after the place to trim before, and keeps the latest entry',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      const entries = [1, 3, 5, 7, 9].map((first) => events(epoch, first, first + 1))
      for (const entry of entries) await bench.append(stream, entry, { epoch, seq: 0 })
      assert.equal((await bench.all(stream)).length, 6)
      // In the middle of an entry, and after the last entry.
      for (const [first, seq] of [
        [11, 5],
        [13, 8],
        [15, 1000],
      ] as const) {
        const entry = events(epoch, first, first + 1)
        entries.push(entry)
        const before = await bench.all(stream)
        await bench.append(stream, entry, { epoch, seq })
        const after = await bench.all(stream)
        const all = [...before, entry]
        sameEntries(after, all.slice(all.length - after.length))
        const kept = all.filter(
          (each) => each === entry || comparePositions(positionOf(each), { epoch, seq }) >= 0,
        )
        assert.ok(after.length >= kept.length, `${kept.length} entries are kept, and not ${after.length}`)
      }
    },
  },
  {
    title: 'keeps the latest entry when the place to trim before is in a later epoch',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      const entry = events(epoch, 1)
      await bench.append(stream, entry, { epoch: epoch + 1, seq: 0 })
      sameEntries(await bench.store.read(stream, 'last', 1), [entry])
      const last = end(epoch, { epoch, seq: 1 })
      await bench.append(stream, last, { epoch: epoch + 1, seq: 0 })
      sameEntries(await bench.store.read(stream, 'last', 1), [last])
    },
  },
  {
    title: 'removes entries of earlier epochs',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      await fill(bench, stream, epoch, 200)
      await bench.giveUp(stream, 'owner')
      const second = await bench.open(stream, 'second')
      await fill(bench, stream, second.epoch, 200, { epoch: second.epoch, seq: 0 })
      const entries = await bench.all(stream)
      assert.ok(entries.length < 402, `${entries.length} entries are fewer than all`)
      assert.equal(entries.filter((entry) => entry.epoch === second.epoch).length, 201)
    },
  },
  {
    title: 'does not keep every entry of a long log that it may remove',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      const bytes = Buffer.alloc(1000, 'x')
      for (let seq = 1; seq <= 500; seq++)
        await bench.append(stream, events(epoch, seq, seq, bytes), { epoch, seq })
      const { length } = await bench.all(stream)
      assert.ok(length <= 400, `${length} entries of 500 are kept`)
    },
  },
  {
    title: 'removes nothing with an append that is fenced',
    async run(bench) {
      const [stream, epoch] = await opened(bench)
      await fill(bench, stream, epoch, 200)
      await bench.giveUp(stream, 'owner')
      const second = await bench.open(stream, 'second')
      const before = await bench.all(stream)
      await bench.isFenced(stream, events(epoch, 201), { epoch: second.epoch, seq: 0 })
      await bench.has(stream, before)
    },
  },
]

async function opened(bench: Bench): Promise<[string, number]> {
  const stream = bench.name()
  const { epoch } = await bench.open(stream, 'owner')
  return [stream, epoch]
}

/** Appends entries that are large enough for a store that removes blocks of entries. */
async function fill(
  bench: Bench,
  stream: string,
  epoch: number,
  count: number,
  trimBefore?: Parameters<Bench['append']>[2],
): Promise<void> {
  const bytes = Buffer.alloc(1000, 'x')
  for (let seq = 1; seq <= count; seq++)
    await bench.append(stream, events(epoch, seq, seq, bytes), trimBefore)
}

/** Expects that neither events nor an end can be appended in an epoch. */
async function isRefused(bench: Bench, stream: string, epoch: number, log: readonly Entry[]): Promise<void> {
  await bench.isFenced(stream, events(epoch, 2))
  await bench.isFenced(stream, end(epoch, { epoch, seq: 1 }))
  await bench.has(stream, log)
}
