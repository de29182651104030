import type { RequestListener } from 'node:http'
import { createClient } from 'redis'
import { createSseHub } from '../../dist/index.js'
import { redisStore } from '../../dist/redis.js'
import { sessions } from './sessions.ts'

export default function relay(upstream: URL, redis: string): RequestListener {
  return sessions(createSseHub({ store: redisStore(createClient({ url: redis })) }), upstream)
}
