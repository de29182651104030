import { expect } from 'chai'
import { createClient } from 'redis'
import { redisStore } from '../../src/redis.ts'
import { startRedis } from '../support/redis.ts'

const times = { lease: 60_000, keepFor: 60_000 }

/** A stream with entries of some size, and how many bytes the server has sent since. */
async function streamOf(entrySize: number, count: number) {
  const server = await startRedis()
  const store = redisStore(createClient({ url: server.url }))
  const client = createClient({ url: server.url })
  await client.connect()
  const opened = await store.open('many', 'owner', times)
  if (opened.state !== 'open') throw new Error(opened.state)
  const { epoch } = opened
  for (let seq = 1; seq <= count; seq++) {
    const bytes = Buffer.alloc(entrySize, `${seq % 10}`)
    const place = { epoch, at: epoch, first: seq, last: seq, cursor: undefined }
    await store.append('many', { kind: 'events', ...place, bytes })
  }
  const output = async () => Number(/^total_net_output_bytes:(\d+)/m.exec(await client.info('stats'))?.[1])
  const before = await output()
  return {
    store,
    epoch,
    sent: async () => (await output()) - before,
    async [Symbol.asyncDispose]() {
      client.destroy()
      await store.close?.()
      await server[Symbol.asyncDispose]()
    },
  }
}

describe('the reads of the store in Redis', () => {
  it('are few for clients that come at once, and read no more than is asked for', async () => {
    await using stream = await streamOf(60_000, 20)
    const { store, epoch } = stream
    const reads = Array.from({ length: 1000 }, () => store.read('many', { epoch, seq: 3 }, 1))
    for (const [first, ...others] of await Promise.all(reads)) {
      expect(first).to.include({ kind: 'events', first: 3 })
      expect(others).to.deep.equal([])
    }
    // One read that is sent at once, and one for all those that wait: 120 kB.
    expect(await stream.sent()).to.be.below(200_000)
  })

  for (const { size, most } of [
    { size: 15_600, most: 160_000 },
    { size: 63_000, most: 200_000 },
    { size: 1000, most: 160_000 },
  ]) {
    it(`ask for little more than a page, also first, where an entry has ${size} bytes`, async () => {
      await using stream = await streamOf(size, 80)
      const { store, epoch } = stream
      // As a client that comes back to another process.
      await store.read('many', 'last', 63_900)
      const entries = await store.read('many', { epoch, seq: 1 }, 63_900)
      expect(entries.length).to.equal(Math.floor(63_900 / size))
      await store.read('many', { epoch, seq: 20 }, 63_900)
      expect(await stream.sent()).to.be.below(most)
    })
  }
})
