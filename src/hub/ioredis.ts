import type { IoRedisClient, RedisConnection } from './redis-client.ts'

/**
 * Opens a connection like that of a client of the package ioredis.
 *
 * @param onMessage - Called for each message on a channel that is subscribed to.
 */
export function connectIoRedis(
  client: IoRedisClient,
  onMessage: (channel: string, message: string) => void,
): RedisConnection {
  const own = client.duplicate()
  const joinWrites = writesJoiner(own)
  const channels = new Set<string>()
  own.on('error', () => {})
  own.on('smessage', onMessage)
  // When ioredis subscribes anew by itself, the rejection for a connection that is closed meanwhile is not handled. For a cluster,
  // ioredis handles it.
  if (!own.isCluster) {
    Object.assign(own.options, { autoResubscribe: false })
    own.on('ready', () => {
      for (const channel of channels) own.ssubscribe(channel).catch(() => {})
    })
  }
  return {
    get isClosed() {
      return own.status === 'end'
    },
    send: ([command = '', ...args]) => {
      joinWrites()
      return own.callBuffer(String(command), args)
    },
    subscribe: async (channel) => {
      channels.add(channel)
      try {
        await own.ssubscribe(channel)
      } catch (error) {
        channels.delete(channel)
        throw error
      }
    },
    unsubscribe: async (channel) => {
      channels.delete(channel)
      await own.sunsubscribe(channel)
    },
    close: () => own.disconnect(),
  }
}

/** Makes a function that holds the commands of a turn back until the turn is over: ioredis writes each to the socket by itself. */
function writesJoiner(client: IoRedisClient): () => void {
  let isHeld = false
  return () => {
    const { stream } = client
    if (isHeld || !stream) return
    isHeld = true
    stream.cork()
    process.nextTick(() => {
      isHeld = false
      stream.uncork()
    })
  }
}
