import { createClient } from 'redis'
import { type Entry, positionOf } from '../../../src/hub/store.ts'
import { redisStore } from '../../../src/redis.ts'
import { LeaseWatch } from './lease-watch.ts'

/** How long a log is kept after its lease, in milliseconds: the default of `keepFor`. */
const keepFor = 300_000

async function connect(url: string) {
  const client = createClient({ url })
  client.on('error', () => {})
  await client.connect()
  return client
}

type Connection = Awaited<ReturnType<typeof connect>>

/** Watches what the hubs of a run do in Redis, over connections of its own. */
export class RedisWatch {
  readonly leases = new LeaseWatch(keepFor)
  readonly #url: string
  readonly #calls: Connection
  readonly #monitor: Connection

  private constructor(url: string, calls: Connection, monitor: Connection) {
    this.#url = url
    this.#calls = calls
    this.#monitor = monitor
  }

  static async start(url: string): Promise<RedisWatch> {
    const watch = new RedisWatch(url, await connect(url), await connect(url))
    await watch.#monitor.monitor((line) => watch.leases.note(String(line)))
    return watch
  }

  async isEnded(): Promise<boolean> {
    const latest = await this.#calls.xRevRange('rs:{model}', '+', '-', { COUNT: 1 })
    return latest?.[0]?.id.endsWith('-18446744073709551615') ?? false
  }

  async readLog(): Promise<Entry[]> {
    const store = redisStore(createClient({ url: this.#url }))
    const entries: Entry[] = []
    for (;;) {
      const last = entries.at(-1)
      const { epoch, seq } = last ? positionOf(last) : { epoch: 0, seq: 0 }
      const page = await store.read('model', { epoch, seq: seq + 1 }, 1_000_000)
      if (page.length === 0) break
      entries.push(...page)
    }
    await store.close?.()
    return entries
  }

  /** The keys that have no time to live. */
  async immortals(): Promise<string[]> {
    const found: string[] = []
    for (const key of await this.#calls.keys('*')) {
      // -2: the key has ended meanwhile.
      if ((await this.#calls.pTTL(key)) === -1) found.push(key)
    }
    return found
  }

  /** What hubs that were closed have left. */
  async leftovers(mayHold: boolean): Promise<string[]> {
    const own = await this.#calls.clientId()
    // O: the client is in the mode of MONITOR.
    const others = (await this.#calls.clientList()).filter(
      ({ id, flags }) => id !== own && !flags.includes('O'),
    )
    const channels = await this.#calls.pubSubShardChannels()
    const isHeld = (await this.#calls.exists('rs:{model}:lease')) > 0
    return [
      ...others.map(({ laddr, cmd }) => `a connection to ${laddr}, last command ${cmd}`),
      ...channels.map((channel) => `a subscription to ${channel}`),
      ...(isHeld && !mayHold ? ['a lease'] : []),
    ]
  }

  close(): void {
    this.#calls.destroy()
    this.#monitor.destroy()
  }
}
