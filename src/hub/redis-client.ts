/**
 * An argument of a command.
 *
 * @example
 * ```ts
 * import type { RedisArgument } from 'resilient-sse/redis'
 *
 * const command: readonly RedisArgument[] = ['SET', 'key', Buffer.from('value')]
 * ```
 */
export type RedisArgument = string | Buffer

/**
 * The members of a client of the package redis (node-redis, from version 6) that the store uses.
 *
 * @example
 * ```ts
 * import { createClient } from 'redis'
 * import { type NodeRedisClient, redisStore } from 'resilient-sse/redis'
 *
 * const client: NodeRedisClient = createClient({ url: 'redis://localhost' })
 * const store = redisStore(client)
 * ```
 */
export interface NodeRedisClient {
  sendCommand(args: readonly RedisArgument[], options?: object): Promise<unknown>
  duplicate(): NodeRedisClient
  connect(): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'connect', listener: () => void): unknown
  sSubscribe(channel: string, listener: (message: string, channel: string) => void): Promise<void>
  sUnsubscribe(channel: string): Promise<void>
  destroy(): void
  readonly isOpen: boolean
}

/**
 * A client of one server, which a cluster client has made.
 *
 * @example
 * ```ts
 * import type { NodeRedisNode } from 'resilient-sse/redis'
 *
 * const isConnected = ({ client }: NodeRedisNode) => client !== undefined
 * ```
 */
export interface NodeRedisNode {
  readonly client?: Pick<NodeRedisClient, 'destroy' | 'on'> | undefined
  readonly pubSub?: { readonly client: Pick<NodeRedisClient, 'destroy' | 'on'> } | undefined
}

/**
 * The members of a cluster client of the package redis that the store uses.
 *
 * @example
 * ```ts
 * import { createCluster } from 'redis'
 * import { type NodeRedisCluster, redisStore } from 'resilient-sse/redis'
 *
 * const client: NodeRedisCluster = createCluster({ rootNodes: [{ url: 'redis://localhost' }] })
 * const store = redisStore(client)
 * ```
 */
export interface NodeRedisCluster {
  sendCommand(
    firstKey: RedisArgument | undefined,
    isReadonly: boolean | undefined,
    args: readonly RedisArgument[],
    options?: object,
  ): Promise<unknown>
  duplicate(): NodeRedisCluster
  connect(): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'node-connect' | 'sharded-channel-moved-error', listener: () => void): unknown
  sSubscribe(channel: string, listener: (message: string, channel: string) => void): Promise<void>
  sUnsubscribe(channel: string): Promise<void>
  destroy(): void
  readonly isOpen: boolean
  readonly masters: readonly NodeRedisNode[]
  readonly replicas: readonly NodeRedisNode[]
  /** Only cluster clients have this member. */
  readonly slots: readonly unknown[]
}

/**
 * The members of a client of the package ioredis (from version 6) that the store uses.
 *
 * @example
 * ```ts
 * import { Redis } from 'ioredis'
 * import { type IoRedisClient, redisStore } from 'resilient-sse/redis'
 *
 * const client: IoRedisClient = new Redis('redis://localhost')
 * const store = redisStore(client)
 * ```
 */
export interface IoRedisClient {
  callBuffer(command: string, args: RedisArgument[]): Promise<unknown>
  duplicate(): IoRedisClient
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'smessage', listener: (channel: string, message: string) => void): unknown
  on(event: 'ready' | 'refresh', listener: () => void): unknown
  ssubscribe(channel: string): Promise<unknown>
  sunsubscribe(channel: string): Promise<unknown>
  disconnect(): void
  readonly status: string
  readonly isCluster: boolean
  readonly options: object
  /** The socket. Clusters have one for each server, and not this member. */
  readonly stream?: { cork(): void; uncork(): void }
}

/**
 * A client of the package redis or ioredis, for a server or a cluster of Redis or Valkey.
 *
 * @example
 * ```ts
 * import { createSseHub } from 'resilient-sse'
 * import { type RedisClient, redisStore } from 'resilient-sse/redis'
 *
 * const hubOn = (client: RedisClient) => createSseHub({ store: redisStore(client) })
 * ```
 */
export type RedisClient = NodeRedisClient | NodeRedisCluster | IoRedisClient

/** One connection of the store. */
export interface RedisConnection {
  /** Whether the client has given up, and will not connect again by itself. */
  readonly isClosed: boolean
  /**
   * Sends a command. Commands that are sent in the same turn share one packet.
   *
   * @returns The reply, with strings as Buffers.
   */
  send(args: RedisArgument[]): Promise<unknown>
  subscribe(channel: string): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  close(): void
}

/** Learns what happens to the subscriptions of a connection. */
export interface SubscriptionsListener {
  onMessage(channel: string, message: string): void
  /** Called when slots of the cluster may have moved: subscriptions may be lost although the connection is open. */
  onSlotsMoved(): void
}
