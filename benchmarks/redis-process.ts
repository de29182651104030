import { createClient } from 'redis'
import { startRedis } from '../test/support/redis.ts'

/** What a server of Redis has used so far. */
export interface RedisUsage {
  /** Microseconds of CPU time, user and system. */
  readonly cpu: number
  /** How many times each command was carried out. */
  readonly commands: ReadonlyMap<string, number>
}

/** A server of Redis of the benchmark's own, without files. */
export class RedisProcess implements AsyncDisposable {
  readonly url: string
  readonly #server: AsyncDisposable
  readonly #client: ReturnType<typeof createClient>

  private constructor(server: AsyncDisposable & { readonly url: string }) {
    this.url = server.url
    this.#server = server
    this.#client = createClient({ url: server.url })
  }

  static async start(): Promise<RedisProcess> {
    const redis = new RedisProcess(await startRedis())
    await redis.#client.connect()
    return redis
  }

  async usage(): Promise<RedisUsage> {
    const cpu = await this.#client.info('cpu')
    const stats = await this.#client.info('commandstats')
    const seconds = (name: string) => Number(new RegExp(`^${name}:(.*)$`, 'm').exec(cpu)?.[1])
    return {
      cpu: (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6,
      commands: new Map(
        [...stats.matchAll(/^cmdstat_(.*?):calls=(\d+)/gm)].map(([, name = '', calls]) => [
          name,
          Number(calls),
        ]),
      ),
    }
  }

  /** Bytes of all keys with what they hold. */
  async stored(): Promise<number> {
    let bytes = 0
    for await (const keys of this.#client.scanIterator()) {
      for (const key of keys) bytes += (await this.#client.memoryUsage(key, { SAMPLES: 0 })) ?? 0
    }
    return bytes
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy()
    await this.#server[Symbol.asyncDispose]()
  }
}
