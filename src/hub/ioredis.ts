import type { IoRedisClient, RedisConnection, SubscriptionsListener } from './redis-client.ts'

/**
 * Opens a connection like that of a client of the package ioredis.
 *
 * @param listener - For a connection that has subscriptions.
 */
export function connectIoRedis(client: IoRedisClient, listener?: SubscriptionsListener): RedisConnection {
  const own = client.duplicate()
  const joinWrites = writesJoiner(own)
  const channels = new Set<string>()
  own.on('error', () => {})
  if (listener) {
    own.on('smessage', (channel, message) => listener.onMessage(channel, message))
    // A cluster client asks for the places of the slots when it connects, and when it has lost a subscription. It subscribes anew if
    // the places have changed, and the one server that it asks, at random, may not know the change yet (ioredis 6.0).
    let isConnected = false
    own.on('refresh', () => {
      if (isConnected) listener.onSlotsMoved()
      isConnected = true
    })
  }
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
