import { asError } from '../errors.ts'
import type { RedisConnection } from './redis-client.ts'
import { parsePosition } from './redis-entries.ts'
import { isLasting } from './redis-errors.ts'
import { ownerSuffix } from './redis-scripts.ts'
import type { Position } from './store.ts'

export type Watcher = (latest?: Position) => void

/** The subscriptions of the store: which channels are watched, and by whom. */
export class RedisWakes {
  readonly #connect: () => RedisConnection
  /** The connection that has the subscriptions; undefined while there is none. */
  #connection: RedisConnection | undefined
  /** By channel. Arrays, because nearly every channel has one watcher, and a Set would take three times the memory. */
  readonly #watchers = new Map<string, readonly Watcher[]>()
  /** The channels of the streams that this process owns. */
  readonly #owned = new Set<string>()
  /** The channels that the connection is subscribed to, and those for which a call is not answered. */
  readonly #subscribed = new Set<string>()
  readonly #changing = new Set<string>()
  /** The channels of the streams whose subscription has failed with the connection: made again once the server answers. */
  readonly #failed = new Set<string>()

  /** @param connect - The connection for subscriptions, which is opened on demand. */
  constructor(connect: () => RedisConnection) {
    this.#connect = connect
  }

  /** @returns A function that stops the calls. */
  watch(channel: string, wake: Watcher): () => void {
    this.#watchers.set(channel, [...this.#watchersOf(channel), wake])
    this.#change(channel)
    let isWatching = true
    return () => {
      if (!isWatching) return
      isWatching = false
      const watchers = this.#watchersOf(channel)
      const at = watchers.indexOf(wake)
      if (at === -1) return
      if (watchers.length > 1) this.#watchers.set(channel, watchers.toSpliced(at, 1))
      else {
        this.#watchers.delete(channel)
        this.#change(channel)
      }
    }
  }

  /**
   * Called when this process has become the owner of a stream: from now on Redis wakes it when others open the stream, and not at each
   * of its own appends, of which it knows.
   */
  own(channel: string): void {
    if (this.#owned.has(channel)) return
    this.#owned.add(channel)
    this.#change(channel)
  }

  disown(channel: string): void {
    if (this.#owned.delete(channel)) this.#change(channel)
  }

  /** Whether this process watches a stream as its owner: it is not among the subscribers of the channel itself. */
  isOwned(channel: string): boolean {
    return this.#owned.has(channel) && this.#watchers.has(channel)
  }

  onMessage(channel: string, message: string): void {
    const isOwners = channel.endsWith(ownerSuffix)
    const own = isOwners ? channel.slice(0, -ownerSuffix.length) : channel
    // Another process has opened the stream.
    if (isOwners) this.disown(own)
    this.wake(own, message)
  }

  /**
   * Wakes those in this process who watch a stream. Called as well when this process has changed the stream: Redis may not tell it.
   */
  wake(channel: string, message: string): void {
    const latest = parsePosition(message)
    for (const wake of this.#watchersOf(channel)) {
      // A watcher that was called before may have stopped this one.
      if (this.#watchersOf(channel).includes(wake)) wake(latest)
    }
  }

  /** Called when there is a new connection. */
  onConnected(connection: RedisConnection): void {
    this.#connection = connection
    for (const channel of this.#watchers.keys()) this.#change(channel)
  }

  onDisconnected(): void {
    this.#connection = undefined
    this.#subscribed.clear()
    this.#changing.clear()
    this.#failed.clear()
  }

  /** Called when the server has answered. */
  onAnswer(): void {
    if (this.#failed.size === 0) return
    const channels = [...this.#failed]
    this.#failed.clear()
    for (const channel of channels) this.#change(channel)
  }

  /** Ends all watches. */
  close(): void {
    this.#watchers.clear()
  }

  #watchersOf(channel: string): readonly Watcher[] {
    return this.#watchers.get(channel) ?? []
  }

  /** Subscribes to the channel of a stream or to that of its owner, whichever this process needs now, and leaves the other one. */
  #change(channel: string): void {
    const owners = `${channel}${ownerSuffix}`
    const [needed, other] = this.#owned.has(channel) ? [owners, channel] : [channel, owners]
    this.#subscribe(channel, needed, this.#watchers.has(channel))
    this.#subscribe(channel, other, false)
  }

  /** Makes one call after another for each channel: a client mixes up calls that overlap. */
  #subscribe(stream: string, channel: string, wants: boolean): void {
    if (this.#changing.has(channel) || wants === this.#subscribed.has(channel)) return
    const connection = this.#connection ?? this.#connect()
    if (wants) this.#subscribed.add(channel)
    else this.#subscribed.delete(channel)
    this.#changing.add(channel)
    const change = wants ? connection.subscribe(channel) : connection.unsubscribe(channel)
    const onAnswer = (error?: unknown) => {
      if (this.#connection !== connection) return
      this.#changing.delete(channel)
      if (error === undefined) {
        this.#change(stream)
        return
      }
      // Without a subscription, the hub finds changes by reading now and then.
      this.#subscribed.delete(channel)
      if (!isLasting(asError(error))) this.#failed.add(stream)
    }
    change.then(
      () => onAnswer(),
      (error: unknown) => onAnswer(asError(error)),
    )
  }
}
