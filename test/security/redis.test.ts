import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { createClient } from 'redis'
import { redisStore } from '../../src/redis.ts'
import { storeTests } from '../../src/store-tests.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

const hostile = [
  '*',
  '?',
  '[a-z]',
  'a}{b',
  '{}',
  '{',
  'a\r\nFLUSHALL\r\n',
  "') redis.call('FLUSHALL') --",
  ']] redis.call("FLUSHALL")',
  '%s%n%.0f',
  'a:lease',
  '\u0000',
  '\ud800',
  '-1',
]

describe('names and data of shared streams', () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis[Symbol.asyncDispose]())

  it('reach Redis as arguments only, whatever they hold', async () => {
    const store = redisStore(createClient({ url: redis.url }))
    const admin = await createClient({ url: redis.url }).connect()
    await admin.set('other', 'kept')
    const times = { lease: 10_000, keepFor: 10_000 }
    for (const name of hostile) {
      const opened = await store.open(name, 'owner', times)
      if (opened.state !== 'open') throw new Error(`${JSON.stringify(name)} is ${opened.state}`)
      const { epoch } = opened
      const events = { kind: 'events', epoch, at: epoch, first: 1, last: 1, cursor: name } as const
      expect(await store.append(name, { ...events, bytes: Buffer.from(name) })).to.equal('stored')
    }
    for (const name of hostile) {
      const [latest] = await store.read(name, 'last', 1)
      expect(latest).to.deep.include({ kind: 'events', bytes: Buffer.from(name) })
      expect(await store.renew(name, 'owner', 1000, 1000)).to.include({ held: true })
    }
    const keys = await admin.keys('*')
    expect(keys.filter((key) => !/^rs:\{[^{}]+\}(:lease)?$/.test(key))).to.deep.equal(['other'])
    expect(keys).to.have.length(2 * hostile.length + 1)
    await store.close?.()
    admin.destroy()
  })

  describe('a user of Redis', () => {
    it('needs no more rights than docs/operations.md names', async () => {
      const document = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
      const [, rules = ''] = /\| ACL \| `(.*?)`/.exec(document) ?? []
      const admin = await createClient({ url: redis.url }).connect()
      await admin.sendCommand(['ACL', 'SETUSER', 'hub', 'on', '>password', ...rules.split(' ')])
      const url = redis.url.replace('//', '//hub:password@')
      const tests = storeTests(async () => {
        const store = redisStore(createClient({ url }))
        return { store, close: async () => store.close?.() }
      })
      for (const { run } of tests) await run()
      admin.destroy()
    })
  })
})
