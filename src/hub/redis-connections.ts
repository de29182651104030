import { SseError } from '../errors.ts'
import { connectIoRedis } from './ioredis.ts'
import { connectNodeRedis } from './node-redis.ts'
import type { RedisClient, RedisConnection, SubscriptionsListener } from './redis-client.ts'
import { checkVersion, isReplicaError, redisError } from './redis-errors.ts'
import { RedisRenewals } from './redis-renewals.ts'

/** After subscriptions may have been lost: long enough for each server of a cluster to learn where a slot is. Milliseconds. */
const renewalPause = 5000

/** The connections of a store while they last. */
export interface Connections {
  /** Rejects when the server is too old. */
  readonly checked: Promise<void>
  readonly appends: RedisConnection
  readonly renewals: RedisRenewals
  readonly reads: RedisConnection
  /** The connection for subscriptions. A new one takes its place when subscriptions may have been lost. */
  wakes: RedisConnection
}

/** Learns what happens to the connections. */
interface ConnectionsListener {
  onMessage(channel: string, message: string): void
  /** @param wakes - The new connection for subscriptions. */
  onConnected(wakes: RedisConnection): void
  onDisconnected(): void
  /** A call was answered. */
  onAnswer(): void
}

/** Opens the connections of a store on demand, and opens new ones when they are over or lead to a former master. */
export class RedisConnections {
  readonly #client: RedisClient
  readonly #listener: ConnectionsListener
  #connections: Connections | undefined
  /** Until the subscriptions are made anew. */
  #pause: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(client: RedisClient, listener: ConnectionsListener) {
    this.#client = client
    this.#listener = listener
  }

  /**
   * Makes a call, once the server's version is known.
   *
   * @throws {@link SseError} `ERR_SSE_STORE` when no repetition can succeed.
   */
  async use<T>(call: (connections: Connections) => Promise<T>): Promise<T> {
    const connections = this.open()
    try {
      await connections.checked
      const answer = await call(connections)
      if (this.#connections === connections) this.#listener.onAnswer()
      return answer
    } catch (error) {
      const { appends, reads, wakes, checked } = connections
      const isOver = [appends, reads, wakes].some(({ isClosed }) => isClosed)
      // After a fail-over, the connections may lead to the former master, and stay there.
      const isStale = isOver || isReplicaError(error) || (await isRejected(checked))
      if (isStale && this.#connections === connections) this.#disconnect()
      throw redisError(error)
    }
  }

  /** @throws {@link SseError} `ERR_SSE_STORE` after `close`. */
  open(): Connections {
    if (this.#isClosed) throw new SseError('ERR_SSE_STORE', 'the store of shared streams was closed')
    if (this.#connections) return this.#connections
    const appends = connectLike(this.#client)
    const checked = checkVersion(appends.send)
    checked.catch(() => {})
    const connections = {
      checked,
      appends,
      renewals: new RedisRenewals(appends),
      reads: connectLike(this.#client),
      wakes: this.#connectWakes(),
    }
    this.#connections = connections
    this.#listener.onConnected(connections.wakes)
    return connections
  }

  close(): void {
    this.#isClosed = true
    this.#disconnect()
  }

  #connectWakes(): RedisConnection {
    const wakes = connectLike(this.#client, {
      onMessage: (channel, message) => this.#listener.onMessage(channel, message),
      onSlotsMoved: () => {
        if (this.#connections?.wakes !== wakes) return
        this.#pause ??= setTimeout(() => this.#renewWakes(), renewalPause).unref()
      },
    })
    return wakes
  }

  /** Makes all subscriptions anew, on a new connection. Wakes that are lost meanwhile cost a hub the time of `poll`. */
  #renewWakes(): void {
    this.#pause = undefined
    const connections = this.#connections
    if (!connections) return
    connections.wakes.close()
    connections.wakes = this.#connectWakes()
    this.#listener.onDisconnected()
    this.#listener.onConnected(connections.wakes)
  }

  #disconnect(): void {
    clearTimeout(this.#pause)
    this.#pause = undefined
    const connections = this.#connections
    this.#connections = undefined
    this.#listener.onDisconnected()
    if (!connections) return
    for (const each of [connections.appends, connections.reads, connections.wakes]) each.close()
  }
}

/** Opens a connection like that of the caller's client. */
function connectLike(client: RedisClient, listener?: SubscriptionsListener): RedisConnection {
  return 'callBuffer' in client ? connectIoRedis(client, listener) : connectNodeRedis(client, listener)
}

async function isRejected(promise: Promise<unknown>): Promise<boolean> {
  return promise.then(
    () => false,
    () => true,
  )
}
