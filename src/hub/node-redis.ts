import type {
  NodeRedisClient,
  NodeRedisCluster,
  RedisArgument,
  RedisConnection,
  SubscriptionsListener,
} from './redis-client.ts'
import { isLasting } from './redis-errors.ts'

/** The type marker of a string in a reply (RESP, "Bulk strings"). */
const bulkString = '$'.charCodeAt(0)
/** The type marker of a map in a reply (RESP3). */
const map = '%'.charCodeAt(0)

/**
 * Opens a connection like that of a client of the package redis.
 *
 * @param listener - For a connection that has subscriptions.
 */
export function connectNodeRedis(
  client: NodeRedisClient | NodeRedisCluster,
  listener?: SubscriptionsListener,
): RedisConnection {
  const own = client.duplicate()
  // The hub has a time limit for each call. That of the client, an AbortSignal for each command, costs as much as the command.
  const options = { typeMapping: { [bulkString]: Buffer, [map]: Array }, timeout: 0 }
  const ready = new Promise<unknown>((resolve, reject) => {
    // Commands fail while the connection is down, and the hub sends them again. A client whose password is refused would try
    // for ever.
    own.on('error', (error) => isLasting(error) && reject(error))
    own.connect().then(resolve, reject)
  })
  ready.catch(() => {})
  // One for all channels: a process follows thousands of them.
  const onChannelMessage = (message: string, channel: string) => listener?.onMessage(channel, message)
  // The client subscribes anew where a slot has moved to, once: the server there may not know of the move yet (node-redis 6.3).
  if ('slots' in own) own.on('sharded-channel-moved-error', () => listener?.onSlotsMoved())
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
      return own.sSubscribe(channel, onChannelMessage)
    },
    unsubscribe: async (channel) => {
      await ready
      return own.sUnsubscribe(channel)
    },
    close() {
      // A client that has given up is closed already, and throws.
      if (!own.isOpen) return
      if ('slots' in own) destroyCluster(own)
      else destroyClient(own)
    },
  }
}

/** Destroys a client. One that is just connecting would keep its socket (node-redis 6.3): it is destroyed again once it has connected. */
function destroyClient(client: Pick<NodeRedisClient, 'destroy' | 'on'>): void {
  client.on('connect', () => client.destroy())
  client.destroy()
}

/** Destroys a cluster client, and the clients that it makes when a look-up of the servers is under way. */
function destroyCluster(cluster: NodeRedisCluster): void {
  const destroy = () => {
    const nodes = [...cluster.masters, ...cluster.replicas]
    for (const { client, pubSub } of nodes) {
      if (client) destroyClient(client)
      if (pubSub) destroyClient(pubSub.client)
    }
    cluster.destroy()
  }
  cluster.on('node-connect', destroy)
  destroy()
}

/** The key of a command, which says where in a cluster the command is sent. INFO has none. */
function keyIn(args: readonly RedisArgument[]): RedisArgument | undefined {
  const [command, first] = args
  if (command === 'EVALSHA' || command === 'EVAL') return args[3]
  if (command === 'XREAD') return args[args.indexOf('STREAMS') + 1]
  return command === 'INFO' ? undefined : first
}
