import type { Entry, OpenResult, StreamStore } from '../../src/index.ts'

/** A store with a fault that the tests of a store must notice. */
export interface BrokenStore {
  /** What is wrong with the store. */
  readonly fault: string
  /** The tests that must fail. */
  readonly fails: readonly string[]
  replace(store: StreamStore): Partial<StreamStore>
}

const random =
  'keeps the epochs of owners apart that pause, repeat calls and do not know that they were followed'
const trimming = 'removes no entry that ends at or after the place to trim before, and keeps the latest entry'
const positions = 'reads the entries that end at or after a position, wherever the position is'
const limits = 'reads no more bytes than the limit, but at least one entry, and in the end every entry once'
const everyField = 'returns every field of an entry with events, byte for byte'

/** A lease, and for how long a log is kept, that do not run out during a test. */
const times = { lease: 60_000, keepFor: 60_000 }

export const brokenStores: readonly BrokenStore[] = [
  {
    fault: 'counts epochs from 1 for each new log',
    fails: ['gives a higher epoch to a log that is created again'],
    replace: (store) => ({
      async open(...args) {
        const result = await store.open(...args)
        return result.state === 'open' && !result.previous ? { ...result, epoch: 1 } : result
      },
    }),
  },
  {
    fault: 'opens a new epoch for a repeated call',
    fails: ['repeats its answer to an owner that opens the stream again, and appends nothing'],
    replace(store) {
      return {
        async open(stream, owner, options) {
          const [before] = await store.read(stream, 'last', 1)
          const result = await store.open(stream, owner, options)
          const [after] = await store.read(stream, 'last', 1)
          if (result.state !== 'open' || before === undefined || before !== after) return result
          await store.renew(stream, owner, 0, times.keepFor)
          return store.open(stream, owner, options)
        },
      }
    },
  },
  {
    fault: 'repeats its answer only until the owner has stored an event',
    fails: ['repeats its answer to an owner that opens the stream again, and appends nothing'],
    replace: (store) => ({
      async open(stream, owner, options) {
        const [latest] = await store.read(stream, 'last', 1)
        const result = await store.open(stream, owner, options)
        if (result.state !== 'open' || latest?.kind !== 'events' || latest.epoch !== result.epoch)
          return result
        return { ...result, previous: { epoch: latest.epoch, seq: latest.last } }
      },
    }),
  },
  {
    fault: 'gives the lease to several owners that ask at once',
    fails: ['gives the lease to one of many owners that ask for it at once'],
    replace(store) {
      let holder = ''
      return {
        async open(stream, owner, options) {
          const isFree = (await store.read(stream, 'last', 1)).length === 0
          const result = await store.open(stream, owner, options)
          if (result.state === 'open') holder = owner
          if (!isFree || result.state !== 'held') return result
          await store.renew(stream, holder, 0, times.keepFor)
          return store.open(stream, owner, options)
        },
      }
    },
  },
  {
    fault: 'never says that a stream is held',
    fails: ['answers held to every other owner while the lease lasts, and appends nothing'],
    replace(store) {
      const holders = new Map<string, string>()
      return {
        async open(stream, owner, options) {
          await store.renew(stream, holders.get(stream) ?? '', 0, times.keepFor)
          holders.set(stream, owner)
          return store.open(stream, owner, options)
        },
      }
    },
  },
  {
    fault: 'says that the lease of another owner has no end',
    fails: ['answers held to every other owner while the lease lasts, and appends nothing'],
    replace: (store) => ({
      async open(...args): Promise<OpenResult> {
        const result = await store.open(...args)
        return result.state === 'held' ? { ...result, retryAfter: Number.POSITIVE_INFINITY } : result
      },
    }),
  },
  {
    fault: 'ends by force only a stream that has an owner',
    fails: ['ends a stream by force that has no owner, also with an empty reason'],
    replace: (store) => ({
      async open(stream, owner, options) {
        if (options.force === undefined) return store.open(stream, owner, options)
        const { state } = await store.open(stream, 'another', times)
        return state === 'open' ? { state: 'ended' } : store.open(stream, owner, options)
      },
    }),
  },
  {
    fault: 'keeps a log that is ended by force for a time of its own',
    fails: ['keeps a log that is ended by force as long as before, where no time is named'],
    replace: (store) => ({
      open: (stream, owner, options) =>
        store.open(
          stream,
          owner,
          options.force === undefined ? options : { ...options, keepFor: times.keepFor },
        ),
    }),
  },
  {
    fault: 'answers a later owner that no event was before its epoch',
    fails: ['gives each later owner a higher epoch, and the position of the entry before it'],
    replace: (store) => ({
      async open(...args) {
        const result = await store.open(...args)
        if (result.state !== 'open' || !result.previous) return result
        return { ...result, previous: { ...result.previous, seq: 0 } }
      },
    }),
  },
  {
    fault: 'takes an empty reason for no force',
    fails: ['ends a stream by force that has no owner, also with an empty reason'],
    replace: (store) => ({
      open: (stream, owner, options) => store.open(stream, owner, options.force === '' ? times : options),
    }),
  },
  {
    fault: 'respects the lease when the stream is ended by force',
    fails: ['ends a stream by force, whoever holds the lease, and fences the owner'],
    replace: (store) => ({
      async open(stream, owner, options) {
        if (options.force === undefined) return store.open(stream, owner, options)
        const result = await store.open(stream, owner, times)
        return result.state === 'open' ? store.open(stream, owner, options) : result
      },
    }),
  },
  {
    fault: 'says that everything is stored',
    fails: [
      'fences an owner after a later epoch was opened, also for an entry that it has stored before',
      'appends nothing after the entry that ends a stream',
      random,
    ],
    replace: (store) => ({
      async append(...args) {
        await store.append(...args)
        return 'stored'
      },
    }),
  },
  {
    fault: 'fences an earlier owner only until the later one has stored an event',
    fails: ['fences an owner after a later epoch was opened, also for an entry that it has stored before'],
    replace: (store) => ({
      async append(stream, entry, ...rest) {
        const [latest] = await store.read(stream, 'last', 1)
        const isLate = latest?.kind === 'events' && latest.epoch > entry.epoch
        return isLate ? 'stored' : store.append(stream, entry, ...rest)
      },
    }),
  },
  ...(['events', 'end'] as const).map((kind) => ({
    fault: `says that entries of the kind ${kind} are stored behind the end`,
    fails: ['ends a stream by force, whoever holds the lease, and fences the owner'],
    replace: (store: StreamStore): Partial<StreamStore> => ({
      async append(stream, entry, ...rest) {
        const [latest] = await store.read(stream, 'last', 1)
        const isBehind = latest?.kind === 'end' && entry.kind === kind
        return isBehind ? 'stored' : store.append(stream, entry, ...rest)
      },
    }),
  })),
  {
    fault: 'appends the entries of earlier owners to the latest epoch',
    fails: [
      'fences an owner after a later epoch was opened, also for an entry that it has stored before',
      random,
    ],
    replace: (store) => ({
      async append(stream, entry, trimBefore) {
        const [latest] = await store.read(stream, 'last', 1)
        return store.append(stream, latest ? { ...entry, epoch: latest.epoch } : entry, trimBefore)
      },
    }),
  },
  {
    fault: 'creates a log for an append',
    fails: [
      'fences an append to a log that does not exist, and creates none',
      'fences an append to a log that is no longer kept, and creates none',
    ],
    replace: (store) => ({
      async append(stream, entry, trimBefore) {
        const entries = await store.read(stream, 'last', 1)
        if (entries.length === 0) await store.open(stream, 'nobody', { lease: 1, keepFor: 1000 })
        return store.append(stream, entry, trimBefore)
      },
    }),
  },
  {
    fault: 'fences an entry that is appended again',
    fails: ['stores the latest entry again, and appends nothing'],
    replace(store) {
      const seen = new Set<unknown>()
      return {
        async append(stream, entry, trimBefore) {
          if (seen.has(entry)) return 'fenced'
          seen.add(entry)
          return store.append(stream, entry, trimBefore)
        },
      }
    },
  },
  {
    fault: 'has an entry twice that was appended twice',
    fails: ['stores the latest entry again, and appends nothing', random],
    replace(store) {
      const calls = new Map<unknown, number>()
      return {
        async append(stream, entry, trimBefore) {
          calls.set(entry, (calls.get(entry) ?? 0) + 1)
          return store.append(stream, entry, trimBefore)
        },
        async read(...args) {
          const entries = await store.read(...args)
          return entries.flatMap((entry) => Array.from({ length: calls.get(entry) ?? 1 }, () => entry))
        },
      }
    },
  },
  ...(['events', 'end'] as const).map((kind) => ({
    fault: `removes the latest entry too, of the kind ${kind}`,
    fails: ['keeps the latest entry when the place to trim before is in a later epoch'],
    replace(store: StreamStore): Partial<StreamStore> {
      const removed = new Set<string>()
      return {
        async append(stream, entry, trimBefore) {
          if (trimBefore && trimBefore.epoch > entry.epoch && entry.kind === kind) removed.add(stream)
          return store.append(stream, entry, trimBefore)
        },
        read: async (stream, ...args) => (removed.has(stream) ? [] : store.read(stream, ...args)),
      }
    },
  })),
  {
    fault: 'removes an entry that ends at the place to trim before',
    fails: [trimming],
    replace: (store) => ({
      append: (stream, entry, before) =>
        store.append(stream, entry, before && { ...before, seq: before.seq + 2 }),
    }),
  },
  {
    fault: 'removes nothing',
    fails: [
      'does not keep every entry of a long log that it may remove',
      'removes entries of earlier epochs',
    ],
    replace: (store) => ({ append: (stream, entry) => store.append(stream, entry) }),
  },
  {
    fault: 'removes entries with an append that is fenced',
    fails: ['removes nothing with an append that is fenced'],
    replace(store) {
      const starts = new Map<string, number>()
      return {
        append(stream, entry, before) {
          if (before) starts.set(stream, before.epoch)
          return store.append(stream, entry, before)
        },
        async read(stream, ...args) {
          const entries = await store.read(stream, ...args)
          return entries.filter(({ epoch }) => epoch >= (starts.get(stream) ?? 0))
        },
      }
    },
  },
  {
    fault: 'keeps bytes as text',
    fails: [everyField],
    replace: (store) => ({
      append: (stream, entry, before) =>
        store.append(
          stream,
          entry.kind === 'events' ? { ...entry, bytes: Buffer.from(entry.bytes.toString()) } : entry,
          before,
        ),
    }),
  },
  {
    fault: 'keeps no difference between an empty cursor and none',
    fails: [everyField],
    replace: (store) => ({ read: async (...args) => (await store.read(...args)).map(withoutEmptyCursor) }),
  },
  {
    fault: 'loses the gap before events',
    fails: [everyField],
    replace: (store) => ({
      append: (stream, entry, before) =>
        store.append(stream, entry.kind === 'events' ? { ...entry, gap: false } : entry, before),
    }),
  },
  {
    fault: 'loses the status of a failure',
    fails: ['returns every field of an entry that ends a stream'],
    replace: (store) => ({
      append: (stream, entry, before) =>
        store.append(stream, entry.kind === 'end' ? { ...entry, status: undefined } : entry, before),
    }),
  },
  ...(['fields', 'body'] as const).map((name) => ({
    fault: `loses the ${name} of a refusal`,
    fails: ['returns every field of an entry that ends a stream'],
    replace: (store: StreamStore): Partial<StreamStore> => ({
      append: (stream, entry, before) =>
        store.append(stream, entry.kind === 'end' ? { ...entry, [name]: undefined } : entry, before),
    }),
  })),
  {
    fault: 'reads only what begins after a position',
    fails: [positions],
    replace: (store) => ({
      async read(stream, from, limit) {
        const entries = await store.read(stream, from, limit)
        if (typeof from === 'string') return entries
        return entries.filter((entry) => entry.kind !== 'events' || entry.first >= from.seq)
      },
    }),
  },
  {
    fault: 'finds no position beyond the end',
    fails: [positions],
    replace: (store) => ({
      read(stream, from, limit) {
        if (typeof from !== 'string' && !Number.isSafeInteger(from.seq)) throw new RangeError('seq')
        return store.read(stream, from, limit)
      },
    }),
  },
  {
    fault: 'has no limit',
    fails: [limits],
    replace: (store) => ({
      read: (stream, from) => store.read(stream, from, Number.POSITIVE_INFINITY),
    }),
  },
  {
    fault: 'reads no entry that is larger than the limit',
    fails: [limits],
    replace: (store) => ({
      async read(stream, from, limit) {
        const entries = await store.read(stream, from, limit)
        return entries.filter((entry) => entry.kind !== 'events' || entry.bytes.length <= limit)
      },
    }),
  },
  {
    fault: 'renews nothing',
    fails: ['renews the lease of the owner', 'keeps a log for the time of the latest renewal'],
    replace: (store) => ({
      async renew(stream, owner, lease, keepFor) {
        return lease === 0 ? store.renew(stream, owner, lease, keepFor) : { held: true, listeners: 0 }
      },
    }),
  },
  {
    fault: 'says that everybody holds the lease',
    fails: [
      'renews a lease only for its owner, and nothing of a stream that does not exist',
      'does not renew a lease that was given up',
    ],
    replace: (store) => ({ renew: async (...args) => ({ ...(await store.renew(...args)), held: true }) }),
  },
  {
    fault: 'gives the lease up for a caller that is not its owner',
    fails: ['renews a lease only for its owner, and nothing of a stream that does not exist'],
    replace(store) {
      const holders = new Map<string, string>()
      return {
        async open(stream, owner, options) {
          const result = await store.open(stream, owner, options)
          if (result.state === 'open') holders.set(stream, owner)
          return result
        },
        async renew(stream, owner, lease, keepFor) {
          const holder = lease === 0 ? (holders.get(stream) ?? owner) : owner
          return { ...(await store.renew(stream, holder, lease, keepFor)), held: holder === owner }
        },
      }
    },
  },
  {
    fault: 'holds a lease that was given up until it runs out',
    fails: [
      'opens the stream at once for another owner when the lease was given up',
      'wakes after a lease was given up',
    ],
    replace: (store) => ({
      renew: (stream, owner, lease, keepFor) => store.renew(stream, owner, lease || 5000, keepFor),
    }),
  },
  {
    fault: 'keeps every log for ever',
    fails: [
      'keeps a log for its time after a lease that has run out, and then removes it',
      'keeps a log for its time after the stream was ended by force',
    ],
    replace: (store) => ({
      open: (stream, owner, options) => store.open(stream, owner, { ...options, keepFor: 1e9 }),
    }),
  },
  {
    fault: 'removes a log with its lease',
    fails: ['keeps a log for its time after a lease that has run out, and then removes it'],
    replace: (store) => ({
      open: (stream, owner, options) => store.open(stream, owner, { ...options, keepFor: 1 }),
    }),
  },
  {
    fault: 'never wakes',
    fails: [
      'wakes after each entry',
      'wakes after a lease was given up',
      'wakes after a stream was ended by force',
    ],
    replace: (store) => ({ watch: (stream) => store.watch(stream, () => {}) }),
  },
  {
    fault: 'names an entry in a wake before the entry is there',
    fails: ['names no entry that cannot be read'],
    replace: (store) => ({
      watch: (stream, wake) => store.watch(stream, () => wake({ epoch: Number.MAX_SAFE_INTEGER, seq: 1 })),
    }),
  },
  {
    fault: 'wakes for ever',
    fails: ['calls no watcher that has stopped to watch, and goes on to call others'],
    replace: (store) => ({
      watch(stream, wake) {
        store.watch(stream, wake)
        return () => {}
      },
    }),
  },
  {
    fault: 'keeps one call for a function that was passed twice',
    fails: ['takes a function twice, and stops one of the two'],
    replace(store) {
      const calls = new Map<() => void, () => void>()
      return {
        watch(stream, wake) {
          const stop = calls.get(wake) ?? store.watch(stream, wake)
          calls.set(wake, stop)
          return stop
        },
      }
    },
  },
  {
    fault: 'counts no listeners',
    fails: ['counts the processes that watch a stream'],
    replace: (store) => ({ renew: async (...args) => ({ ...(await store.renew(...args)), listeners: 0 }) }),
  },
  ...['\n', ':', '}'].map((separator) => ({
    fault: `looks at the part of a name before ${JSON.stringify(separator)} only`,
    fails: ['takes names of any characters, and mixes none of the streams'],
    replace: (store: StreamStore) => renamed(store, (name) => name.split(separator, 1).join()),
  })),
  {
    fault: 'has one log for names that differ in case, or in how a character is composed',
    fails: ['takes names of any characters, and mixes none of the streams'],
    replace: (store) => renamed(store, (name) => name.toLowerCase().normalize()),
  },
  {
    fault: 'refuses a long name',
    fails: ['takes names of 1 and of 512 bytes'],
    replace: (store) =>
      renamed(store, (name) => {
        if (Buffer.byteLength(name) > 255) throw new RangeError('the name is too long')
        return name
      }),
  },
]

function withoutEmptyCursor(entry: Entry): Entry {
  return entry.kind === 'events' ? { ...entry, cursor: entry.cursor || undefined } : entry
}

function renamed(store: StreamStore, to: (name: string) => string): StreamStore {
  return {
    open: async (name, ...args) => store.open(to(name), ...args),
    append: async (name, ...args) => store.append(to(name), ...args),
    renew: async (name, ...args) => store.renew(to(name), ...args),
    read: async (name, ...args) => store.read(to(name), ...args),
    watch: (name, wake) => store.watch(to(name), wake),
  }
}
