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
 * @param urls - One URL of a server, or several of a cluster.
 * @throws `Error` that names the package redis when it cannot be loaded.
 */
export async function openRedisStore(urls: readonly URL[], log: Logger): Promise<StreamStore> {
  const redis = await loadRedis()
  const isCluster = urls.length > 1
  for (const url of new Set(urls.map(({ href }) => href))) void tell(redis, url, isCluster, log)
  const [first] = urls
  return redisStore(isCluster ? clusterClient(redis, urls) : redis.createClient({ url: first?.href ?? '' }))
}

/** Connects once to a server, and logs whether the server is there and is what the setting says. */
async function tell({ createClient }: typeof Redis, url: string, isCluster: boolean, log: Logger) {
  const about = { redis: redactUrl(url) }
  const once = createClient({ url, socket: { reconnectStrategy: false } })
  // The rejection of connect has the same error.
  once.on('error', () => {})
  try {
    await once.connect()
    const { mode } = await once.hello()
    log.info(about, 'redis connected')
    if (isCluster && mode !== 'cluster') {
      log.warn(about, 'redis is not a server of a cluster, and --redis has several URLs')
    } else if (!isCluster && mode === 'cluster') {
      log.warn(about, 'redis is a server of a cluster, and --redis has one URL')
    }
  } catch (error) {
    // Redis may be started later: the command goes on.
    log.warn({ ...about, err: asError(error) }, 'redis cannot be reached')
  } finally {
    if (once.isOpen) once.destroy()
  }
}

/** The servers that a cluster names are reached with the credentials of the URLs, which are the same in each. */
function clusterClient({ createCluster }: typeof Redis, urls: readonly URL[]) {
  const [{ protocol, username, password }] = [urls[0] ?? new URL('redis://')]
  return createCluster({
    rootNodes: urls.map(({ href }) => ({ url: href })),
    defaults: {
      ...(username && { username: decodeURIComponent(username) }),
      ...(password && { password: decodeURIComponent(password) }),
      ...(protocol === 'rediss:' && { socket: { tls: true } }),
    },
  })
}

async function loadRedis(): Promise<typeof Redis> {
  try {
    return await import('redis')
  } catch (cause) {
    throw new Error('--redis needs the package redis (^6): npm install redis', { cause })
  }
}
