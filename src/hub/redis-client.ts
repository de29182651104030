import { isLasting } from './redis-errors.ts'

/** An argument of a command. */
export type RedisArgument = string | Buffer

/** The members of a client of the package redis (node-redis, from version 6) that the store uses. */
export interface NodeRedisClient {
  sendCommand(args: readonly RedisArgument[], options?: object): Promise<unknown>
  duplicate(): NodeRedisClient
  connect(): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  subscribe(channel: string, listener: () => void): Promise<void>
  unsubscribe(channel: string): Promise<void>
  destroy(): void
  readonly isOpen: boolean
}

/** The members of a client of the package ioredis (from version 6) that the store uses. */
export interface IoRedisClient {
  callBuffer(command: string, args: RedisArgument[]): Promise<unknown>
  duplicate(): IoRedisClient
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'message', listener: (channel: string) => void): unknown
  subscribe(channel: string): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  disconnect(): void
  readonly status: string
}

/** A client of the package redis or ioredis, for a server or a cluster of Redis or Valkey. */
export type RedisClient = NodeRedisClient | IoRedisClient

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

function connectNodeRedis(client: NodeRedisClient, onMessage: (channel: string) => void): RedisConnection {
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
      return own.sendCommand(args, options)
    },
    subscribe: async (channel) => {
      await ready
      return own.subscribe(channel, () => onMessage(channel))
    },
    unsubscribe: async (channel) => {
      await ready
      return own.unsubscribe(channel)
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
  own.on('message', onMessage)
  return {
    get isClosed() {
      return own.status === 'end'
    },
    send: ([command = '', ...args]) => own.callBuffer(String(command), args),
    subscribe: (channel) => own.subscribe(channel),
    unsubscribe: (channel) => own.unsubscribe(channel),
    close: () => own.disconnect(),
  }
}
