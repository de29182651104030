import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { StoreAccess } from '../../src/hub/store-access.ts'
import type { EventsEntry, StreamStore } from '../../src/index.ts'
import { type RedisClient, redisStore } from '../../src/redis.ts'
import { certificate } from '../support/certificate.ts'
import { get } from '../support/client.ts'
import { serveHub } from '../support/hub.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { redisProxy } from '../support/redis-proxy.ts'
import { freePort, serve, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

interface Package {
  readonly name: string
  connect(url: string): RedisClient
  /** A client that does not connect again after its connection was lost. */
  connectOnce(url: string): RedisClient
  connectTls(url: string): RedisClient
  /** A client that its owner has connected and closed. */
  closed(url: string): Promise<RedisClient>
}

const packages: readonly Package[] = [
  {
    name: 'redis',
    connect: (url) => createClient({ url }),
    connectOnce: (url) => createClient({ url, socket: { reconnectStrategy: false } }),
    connectTls: (url) => createClient({ url, socket: { tls: true, ca: certificate.cert } }),
    async closed(url) {
      const client = createClient({ url })
      await client.connect()
      client.destroy()
      return client
    },
  },
  {
    name: 'ioredis',
    connect: (url) => new Redis(url, { lazyConnect: true }),
    connectOnce: (url) => new Redis(url, { lazyConnect: true, retryStrategy: () => null }),
    connectTls: (url) => new Redis(url, { lazyConnect: true, tls: { ca: certificate.cert } }),
    async closed(url) {
      const client = new Redis(url)
      await client.ping()
      client.disconnect()
      return client
    },
  },
]

const lease = { lease: 60_000, keepFor: 60_000 }
const entryOf = (epoch: number, seq: number): EventsEntry => ({
  kind: 'events',
  epoch,
  at: epoch,
  first: seq,
  last: seq,
  bytes: Buffer.from('data: 1\n\n'),
  cursor: undefined,
})

/** Opens a stream, and returns its epoch. */
async function opened(store: StreamStore, stream: string): Promise<number> {
  const result = await store.open(stream, 'owner', lease)
  if (result.state !== 'open') throw new Error(`the stream is ${result.state}`)
  return result.epoch
}

/** Calls the store until it answers, and keeps the errors of its absence. */
function patient() {
  const errors: string[] = []
  const access = new StoreAccess(20_000, {
    storeAway: ({ message }) => errors.push(message),
    storeBack: () => {},
    storeFailed: () => {},
  })
  return { access, errors, [Symbol.dispose]: () => access.close() }
}

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

for (const each of packages) {
  describe(`the store in Redis, through the package ${each.name},`, () => {
    let server: RedisServer
    let names = 0
    const newName = () => `faults-${names++}`
    before(async () => {
      server = await startRedis()
    })
    after(() => server[Symbol.asyncDispose]())

    /** A client of the server of the test's own. */
    const admin = async (url = server.url) => {
      const client = createClient({ url })
      await client.connect()
      return { client, [Symbol.dispose]: () => client.destroy() }
    }
    const storeOf = (client: RedisClient) => {
      const store = redisStore(client)
      return { store, [Symbol.asyncDispose]: async () => store.close?.() }
    }

    for (const [what, command] of [
      ['a key of another type', (key: string) => ['SET', key, 'text']],
      ['a lease of another type', (key: string) => ['HSET', `${key}:lease`, 'a', 'b']],
      ['an entry of another program', (key: string) => ['XADD', key, '*', 'a', 'b']],
      [
        'an entry whose id is too large',
        (key: string) => ['XADD', key, '9007199254740993-1', 'd', '', 'n', '0'],
      ],
      ['an entry with a count that is not a number', (key: string) => ['XADD', key, '*', 'd', '', 'n', 'x']],
    ] as const) {
      it(`refuses a client at once for ${what}`, async () => {
        const name = newName()
        using direct = await admin()
        await direct.client.sendCommand(command(`rs:{${name}}`))
        await using upstream = await serve(stays())
        const store = redisStore(each.connect(server.url))
        await using hub = await serveHub(upstream.url, {
          hub: { store, storeTimeout: 600_000 },
          nameOf: () => name,
        })
        using client = await get(hub.url)
        expect(client.status).to.equal(503)
        expect(hub.summaries[0]?.error).to.have.property('code', 'ERR_SSE_STORE')
      })
    }

    it('sends its scripts again after the server has lost them', async () => {
      await using own = storeOf(each.connect(server.url))
      const name = newName()
      await opened(own.store, name)
      using direct = await admin()
      await direct.client.sendCommand(['SCRIPT', 'FLUSH'])
      expect(await own.store.renew(name, 'owner', 60_000, 60_000)).to.have.property('held', true)
      await direct.client.sendCommand(['SCRIPT', 'FLUSH'])
      expect(await own.store.open(name, 'other', lease)).to.have.property('state', 'held')
    })

    it('waits for memory', async () => {
      await using own = storeOf(each.connect(server.url))
      const name = newName()
      const epoch = await opened(own.store, name)
      using direct = await admin()
      await direct.client.sendCommand(['CONFIG', 'SET', 'maxmemory', '1', 'maxmemory-policy', 'noeviction'])
      using waiting = patient()
      const result = waiting.access.call(() => own.store.append(name, entryOf(epoch, 1)))
      await until(
        () => waiting.errors.length > 0,
        () => 'the refusal',
      )
      expect(waiting.errors[0]).to.match(/^OOM /)
      await direct.client.sendCommand(['CONFIG', 'SET', 'maxmemory', '0'])
      expect(await result).to.equal('stored')
    })

    it('waits for a server that loads its data', async () => {
      const dir = await mkdtemp(path.join(tmpdir(), 'rs-'))
      try {
        const slow = ['--key-load-delay', '500', '--loading-process-events-interval-bytes', '1024']
        await using loading = await startRedis('--dir', dir, ...slow)
        await using own = storeOf(each.connect(loading.url))
        const epoch = await opened(own.store, 'log')
        using direct = await admin(loading.url)
        direct.client.on('error', () => {})
        await Promise.all(
          Array.from({ length: 1000 }, (_, n) => direct.client.set(`filler ${n}`, 'x'.repeat(100))),
        )
        await direct.client.sendCommand(['SAVE'])
        await loading.kill()
        const restarted = loading.restart()
        using waiting = patient()
        expect(await waiting.access.call(() => own.store.append('log', entryOf(epoch, 1)))).to.equal('stored')
        await restarted
      } finally {
        await rm(dir, { recursive: true })
      }
    })

    it('leaves a server that has become a replica', async () => {
      await using former = await startRedis('--repl-diskless-sync-delay', '0')
      await using next = await startRedis('--replicaof', '127.0.0.1', String(former.port))
      await using proxy = await redisProxy(former.port)
      await using own = storeOf(each.connect(proxy.url))
      const epoch = await opened(own.store, 'log')
      let wakes = 0
      own.store.watch('log', () => wakes++)
      using oldMaster = await admin(former.url)
      using newMaster = await admin(next.url)
      while ((await newMaster.client.xLen('rs:{log}')) === 0);
      await newMaster.client.sendCommand(['REPLICAOF', 'NO', 'ONE'])
      await oldMaster.client.sendCommand(['REPLICAOF', '127.0.0.1', String(next.port)])
      proxy.target = next.port
      using waiting = patient()
      expect(await waiting.access.call(() => own.store.append('log', entryOf(epoch, 1)))).to.equal('stored')
      expect(waiting.errors[0]).to.match(/^READONLY /)
      expect(await newMaster.client.xLen('rs:{log}')).to.equal(2)
      while ((await own.store.renew('log', 'owner', 60_000, 60_000)).listeners === 0);
      await own.store.append('log', entryOf(epoch, 2))
      await until(
        () => wakes > 0,
        () => 'a wake from the new master',
      )
    })

    it('connects anew when its client has given up', async () => {
      await using mortal = await startRedis()
      await using own = storeOf(each.connectOnce(mortal.url))
      await opened(own.store, 'log')
      let wakes = 0
      own.store.watch('log', () => wakes++)
      await mortal.kill()
      await mortal.restart()
      using waiting = patient()
      const epoch = await waiting.access.call(() => opened(own.store, 'log'))
      while ((await own.store.renew('log', 'owner', 60_000, 60_000)).listeners === 0);
      await own.store.append('log', entryOf(epoch, 1))
      await until(
        () => wakes > 0,
        () => 'a wake',
      )
    })

    it('needs nothing of the client that it was given', async () => {
      await using own = storeOf(await each.closed(server.url))
      const name = newName()
      const epoch = await opened(own.store, name)
      expect(await own.store.append(name, entryOf(epoch, 1))).to.equal('stored')
    })

    /** A store behind a proxy that swallows the answers to subscriptions. */
    const unanswered = async () => {
      const proxy = await redisProxy(server.port)
      const own = storeOf(each.connect(proxy.url))
      const name = newName()
      const epoch = await opened(own.store, name)
      let lost = 0
      const swallow = (reply: string) => {
        if (!reply.includes('ssubscribe')) return reply
        lost++
        return ''
      }
      return {
        proxy,
        name,
        epoch,
        store: own.store,
        listeners: async () => (await own.store.renew(name, 'owner', 60_000, 60_000)).listeners,
        /** Resolves when an answer was swallowed. */
        async swallows() {
          proxy.edit = swallow
          await until(
            () => lost > 0,
            () => 'a subscription',
          )
        },
        async [Symbol.asyncDispose]() {
          await own[Symbol.asyncDispose]()
          await proxy[Symbol.asyncDispose]()
        },
      }
    }

    it('can be closed while it subscribes anew', async () => {
      await using lost = await unanswered()
      lost.store.watch(lost.name, () => {})
      while ((await lost.listeners()) === 0);
      lost.proxy.cut()
      await lost.swallows()
      using direct = await admin()
      const channel = `rs:{${lost.name}}:wake`
      const rejections: unknown[] = []
      const note = (error: unknown) => rejections.push(error)
      process.on('unhandledRejection', note)
      await lost.store.close?.()
      while ((await direct.client.pubSubShardChannels()).includes(channel));
      await nextTurn()
      process.off('unhandledRejection', note)
      expect(rejections).to.deep.equal([])
    })

    it('gets wakes although its first subscription was lost with its connection', async () => {
      await using lost = await unanswered()
      const swallowed = lost.swallows()
      let wakes = 0
      lost.store.watch(lost.name, () => wakes++)
      await swallowed
      lost.proxy.edit = (reply) => reply
      lost.proxy.cut()
      while ((await lost.listeners().catch(() => 0)) === 0);
      expect(await lost.store.append(lost.name, entryOf(lost.epoch, 1))).to.equal('stored')
      await until(
        () => wakes > 0,
        () => 'a wake',
      )
    })

    it('opens no connection after it was closed', async () => {
      const own = storeOf(each.connect(server.url))
      const name = newName()
      await opened(own.store, name)
      const unwatch = own.store.watch(name, () => {})
      await own.store.close?.()
      unwatch()
      own.store.watch(name, () => {})
      const error = await caught(own.store.read(name, 'last', 1))
      expect(error).to.have.property('code', 'ERR_SSE_STORE')
    })

    it('names the version of a server that is too old, and works once the server is new enough', async () => {
      await using proxy = await redisProxy(server.port)
      proxy.edit = (reply) => reply.replace(/(redis_version:)\d+\.\d+/, '$16.2')
      await using own = storeOf(each.connect(proxy.url))
      const name = newName()
      const error = await caught(own.store.open(name, 'owner', lease))
      expect(error).to.have.property('code', 'ERR_SSE_STORE')
      expect(error)
        .to.have.property('message')
        .that.matches(/needs Redis 7\.0 or later.*version 6\.2/)
      proxy.edit = (reply) => reply
      await opened(own.store, name)
    })

    it('says at once that a password is missing', async () => {
      await using locked = await startRedis('--requirepass', 'secret')
      await using own = storeOf(each.connect(locked.url))
      const error = await caught(own.store.open('log', 'owner', lease))
      expect(error).to.have.property('code', 'ERR_SSE_STORE')
      expect(error).to.have.property('message').that.includes('NOAUTH')
    })

    it('needs no right to ask for the version', async () => {
      using direct = await admin()
      const rights = ['on', '>secret', '~rs:*', '&rs:*', '+@all', '-info']
      await direct.client.sendCommand(['ACL', 'SETUSER', 'gateway', ...rights])
      await using own = storeOf(each.connect(`redis://gateway:secret@127.0.0.1:${server.port}`))
      await opened(own.store, newName())
    })

    it('works over TLS', async () => {
      const dir = await mkdtemp(path.join(tmpdir(), 'rs-'))
      try {
        const [cert, key] = [path.join(dir, 'cert.pem'), path.join(dir, 'key.pem')]
        await writeFile(cert, certificate.cert)
        await writeFile(key, certificate.key)
        const port = await freePort()
        const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-auth-clients', 'no']
        await using secure = await startRedis('--tls-port', String(port), ...files)
        await using own = storeOf(each.connectTls(`rediss://localhost:${port}`))
        const epoch = await opened(own.store, 'log')
        expect(await own.store.append('log', entryOf(epoch, 1))).to.equal('stored')
        using direct = await admin(secure.url)
        expect(await direct.client.xLen('rs:{log}')).to.equal(2)
      } finally {
        await rm(dir, { recursive: true })
      }
    })
  })
}
