import { isLasting } from './redis-errors.ts'

/** An argument of a command. */
export type RedisArgument = string | Buffer

/** The members of a client of the package redis (node-redis, from version 6) that the store uses. */
export interface NodeRedisClient {
  sendCommand(args: readonly RedisArgument[], options?: object): Promise<unknown>
  duplicate(): NodeRedisClient
  connect(): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  sSubscribe(channel: string, listener: () => void): Promise<void>
  sUnsubscribe(channel: string): Promise<void>
  destroy(): void
  readonly isOpen: boolean
}

/** The members of a cluster client of the package redis that the store uses. */
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
  sSubscribe(channel: string, listener: () => void): Promise<void>
  sUnsubscribe(channel: string): Promise<void>
  destroy(): void
  readonly isOpen: boolean
  /** Only cluster clients have this member. */
  readonly slots: readonly unknown[]
}

/** The members of a client of the package ioredis (from version 6) that the store uses. */
export interface IoRedisClient {
  callBuffer(command: string, args: RedisArgument[]): Promise<unknown>
  duplicate(): IoRedisClient
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'smessage', listener: (channel: string) => void): unknown
  ssubscribe(channel: string): Promise<unknown>
  sunsubscribe(channel: string): Promise<unknown>
  disconnect(): void
  readonly status: string
}

/** A client of the package redis or ioredis, for a server or a cluster of Redis or Valkey. */
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

/**
 * Opens a connection like that of the caller's client.
 *
 * @param onMessage - Called for each message on a channel that is subscribed to.
 */
export function connectLike(client: RedisClient, onMessage: (channel: string) => void): RedisConnection {
  return 'callBuffer' in client ? connectIoRedis(client, onMessage) : connectNodeRedis(client, onMessage)
}

/** The type marker of a string in a reply (RESP, "Bulk strings"). */
const bulkString = '$'.charCodeAt(0)

function connectNodeRedis(
  client: NodeRedisClient | NodeRedisCluster,
  onMessage: (channel: string) => void,
): RedisConnection {
  const own = client.duplicate()
  const options = { typeMapping: { [bulkString]: Buffer } }
  const ready = new Promise<unknown>((resolve, reject) => {
    // Commands fail while the connection is down, and the hub sends them again. A client whose password is refused would try
    // for ever.
    own.on('error', (error) => isLasting(error) && reject(error))
    own.connect().then(resolve, reject)
  })
  ready.catch(() => {})
  return {
    get isClosed() {
      return !own.isOpen
    },
    send: async (args) => {
      await ready
      // Masters answer every command: a replica may be behind.
      return 'slots' in own
        ? own.sendCommand(keyIn(args), false, args, options)
        : own.sendCommand(args, options)
    },
    subscribe: async (channel) => {
      await ready
      return own.sSubscribe(channel, () => onMessage(channel))
    },
    unsubscribe: async (channel) => {
      await ready
      return own.sUnsubscribe(channel)
    },
    close() {
      // A client that has given up is closed already, and throws.
      if (own.isOpen) own.destroy()
    },
  }
}

function connectIoRedis(client: IoRedisClient, onMessage: (channel: string) => void): RedisConnection {
  const own = client.duplicate()
  own.on('error', () => {})
  own.on('smessage', onMessage)
  return {
    get isClosed() {
      return own.status === 'end'
    },
    send: ([command = '', ...args]) => own.callBuffer(String(command), args),
    subscribe: (channel) => own.ssubscribe(channel),
    unsubscribe: (channel) => own.sunsubscribe(channel),
    close: () => own.disconnect(),
  }
}

/** The key of a command, which says where in a cluster the command is sent. INFO has none. */
function keyIn([command, first, , key]: readonly RedisArgument[]): RedisArgument | undefined {
  if (command === 'EVALSHA' || command === 'EVAL') return key
  return command === 'INFO' ? undefined : first
}
