import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Entry } from '../store.ts'
import { type Bench, end, events, long, type StoreCase, sameEntries, short } from './bench.ts'

/** That streams are independent of each other, whatever their names are. */
export const nameCases: readonly StoreCase[] = [
  {
    title: 'takes names of any characters, and mixes none of the streams',
    async run(bench) {
      const unique = randomUUID()
      const all = namesWith(unique)
      assert.equal(new Set(all).size, all.length)
      const epochs = new Map<string, number>()
      for (const name of all) epochs.set(name, (await bench.open(name, `owner of ${name}`)).epoch)
      const logs = new Map<string, Entry[]>()
      for (const [n, name] of all.entries()) {
        const entry = events(epochs.get(name) ?? 0, 1, n + 1, Buffer.from(name))
        await bench.append(name, entry)
        const [open] = await bench.all(name)
        logs.set(name, open ? [open, entry] : [])
      }
      for (const [name, log] of logs) await bench.has(name, log)
      for (const name of all) await bench.isHeld(name)
    },
  },
  {
    title: 'takes names of 1 and of 512 bytes',
    async run(bench) {
      const unique = randomUUID()
      for (const filler of ['x', 'é', '€', '😀', '\n', '}']) {
        const count = Math.floor((512 - unique.length) / Buffer.byteLength(filler))
        const name = filler.repeat(count) + unique
        const longest = name.padEnd(name.length + 512 - Buffer.byteLength(name), ':')
        assert.equal(Buffer.byteLength(longest), 512)
        await isUsable(bench, longest)
      }
      // Others may use such a name as well.
      for (const name of [':', '{', '0', '\n']) await isUsable(bench, name)
    },
  },
  {
    title: 'takes names of owners of any characters, and mixes none of the owners',
    async run(bench) {
      for (const owner of namesWith(randomUUID())) {
        const stream = bench.name()
        const { epoch } = await bench.open(stream, owner)
        assert.equal((await bench.open(stream, owner)).epoch, epoch)
        assert.equal((await bench.store.renew(stream, owner, long, long)).held, true, JSON.stringify(owner))
        await bench.isNotHeldBy(stream, `${owner}.`, long)
        await bench.isNotHeldBy(stream, owner.slice(0, -1), long)
        await bench.isHeld(stream)
      }
    },
  },
  {
    title: 'lets one owner have many streams, and opens, ends, gives up and removes each alone',
    async run(bench) {
      const [one, other, ended, removed] = [bench.name(), bench.name(), bench.name(), bench.name()]
      const opened = await Promise.all([one, other, ended, removed].map((name) => bench.open(name, 'owner')))
      const [first, second, third] = opened.map(({ epoch }) => epoch)
      assert.ok(first !== undefined && second !== undefined && third !== undefined)
      await bench.append(one, events(first, 1, 3))
      await bench.append(ended, end(third, { epoch: third, seq: 0 }))
      await bench.giveUp(removed, 'owner', short)
      await bench.isGone(removed)
      const before = await bench.all(other)
      await bench.store.open(one, 'canceller', { lease: long, keepFor: long, force: 'stop' })
      await bench.isHeld(other)
      await bench.has(other, before)
      await bench.append(other, events(second, 1))
      await bench.giveUp(other, 'owner')
      assert.equal((await bench.open(other, 'another')).previous?.seq, 1)
    },
  },
]

/** Names that a store must keep apart: those that look like others, or like the store's own keys. */
function namesWith(unique: string): string[] {
  const suffixes = [
    '',
    ' ',
    '\n',
    '\r\n',
    '\0',
    ':',
    ':lease',
    ':wake',
    '/',
    '//',
    '{',
    '}',
    '{}',
    '*',
    '?',
    '[a]',
    '\\',
  ]
  const more = [
    'é',
    'e\u0301',
    '😀',
    '\u2028',
    '"',
    "'",
    '%',
    '%25',
    '-1',
    '/../',
    '.',
    'A',
    'a',
    '__proto__',
    '\u007f',
  ]
  return [
    ...[...suffixes, ...more].map((suffix) => unique + suffix),
    ...[' ', '{', '}', ':', '__proto__:'].map((prefix) => prefix + unique),
    `{${unique}}`,
    `{${unique}}:lease`,
    `rs:${unique}`,
    `${unique.slice(0, 8)}}${unique}`,
  ]
}

async function isUsable(bench: Bench, name: string): Promise<void> {
  const owner = randomUUID()
  const { epoch } = await bench.takeOver(name, owner, long, short)
  const entry = events(epoch, 1, 2, Buffer.from(name))
  await bench.append(name, entry)
  sameEntries(await bench.store.read(name, { epoch, seq: 1 }, 1000), [entry])
  await bench.giveUp(name, owner, short)
}
