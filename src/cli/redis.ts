import type * as Redis from 'redis'
import type { Logger } from '../diagnostics.ts'
import { asError } from '../errors.ts'
import { redactUrl } from '../http/url.ts'
import { redisStore } from '../hub/redis-store.ts'
import type { StreamStore } from '../hub/store.ts'

/**
 * Makes a store of shared streams in Redis. The log tells whether Redis can be reached: a later call that fails tells only
 * that it got no answer.
 *
 * @throws `Error` that names the package redis when it cannot be loaded.
 */
export async function openRedisStore(url: URL, log: Logger): Promise<StreamStore> {
  const { createClient } = await loadRedis()
  const about = { redis: redactUrl(url.href) }
  const once = createClient({ url: url.href, socket: { reconnectStrategy: false } })
  // The rejection of connect has the same error.
  once.on('error', () => {})
  once.connect().then(
    () => {
      once.destroy()
      log.info(about, 'redis connected')
    },
    // Redis may be started later: the command goes on.
    (error: unknown) => log.warn({ ...about, err: asError(error) }, 'redis cannot be reached'),
  )
  return redisStore(createClient({ url: url.href }))
}

async function loadRedis(): Promise<typeof Redis> {
  try {
    return await import('redis')
  } catch (cause) {
    throw new Error('--redis needs the package redis (^6): npm install redis', { cause })
  }
}
