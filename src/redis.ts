/// <reference types="node" preserve="true" />

export type {
  IoRedisClient,
  NodeRedisClient,
  NodeRedisCluster,
  NodeRedisNode,
  RedisArgument,
  RedisClient,
} from './hub/redis-client.ts'
export { redisStore } from './hub/redis-store.ts'
