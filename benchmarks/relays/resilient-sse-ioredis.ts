import type { RequestListener } from 'node:http'
import { Redis } from 'ioredis'
import { createSseHub } from '../../dist/index.js'
import { redisStore } from '../../dist/redis.js'
import { sessions } from './sessions.ts'

export default function relay(upstream: URL, redis: string): RequestListener {
  return sessions(createSseHub({ store: redisStore(new Redis(redis, { lazyConnect: true })) }), upstream)
}
