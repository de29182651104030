import type { RedisArgument, RedisClient } from './redis-client.ts'
import { RedisConnections } from './redis-connections.ts'
import { entriesOf, fieldsOf, formatPosition, idBefore, parsePosition, seqBefore } from './redis-entries.ts'
import { RedisPageSize } from './redis-page-size.ts'
import { keyStart, RedisReads } from './redis-reads.ts'
import { appendScript, openScript, runScript, type Script } from './redis-scripts.ts'
import { RedisWakes, type Watcher } from './redis-wakes.ts'
import {
  type AppendResult,
  comparePositions,
  type EndEntry,
  type Entry,
  type EventsEntry,
  endSeq,
  type OpenOptions,
  type OpenResult,
  type Position,
  positionOf,
  type StreamStore,
} from './store.ts'

/**
 * Keeps the logs of shared streams in Redis or Valkey, for hubs on any number of machines.
 *
 * Each stream is a Redis Stream whose ids are the positions of its entries. Redis refuses an id that is not above the latest one:
 * this refusal is what keeps a former owner from appending. The store opens three connections like that of the client: for appends,
 * for reads, and for wakes.
 *
 * @param client - A client of the package redis or ioredis, version 6. The store duplicates it, and sends nothing through it.
 * In a cluster, ioredis must have the option `shardedSubscribers`: without it, wakes are lost.
 *
 * @example
 * ```ts
 * import { createClient } from 'redis'
 * import { createSseHub } from 'resilient-sse'
 * import { redisStore } from 'resilient-sse/redis'
 *
 * const client = createClient({ url: 'redis://localhost' })
 * client.on('error', () => {})
 * const hub = createSseHub({ store: redisStore(client) })
 * ```
 */
export function redisStore(client: RedisClient): StreamStore {
  return new RedisStore(client)
}

class RedisStore implements StreamStore {
  readonly #connections: RedisConnections
  readonly #wakes = new RedisWakes(() => this.#connections.open().wakes)
  readonly #reads = new RedisReads((args) => this.#connections.use(({ reads }) => reads.send(args)))
  readonly #pageSize = new RedisPageSize()
  /** The keys of the logs to which an entry was appended since their lease was renewed. */
  readonly #appended = new Set<string>()
  #isClosed = false

  constructor(client: RedisClient) {
    this.#connections = new RedisConnections(client, this.#wakes)
  }

  async open(stream: string, owner: string, options: OpenOptions): Promise<OpenResult> {
    const { lease, keepFor, force } = options
    const channel = wakeOf(stream)
    const forced = force === undefined ? ['0', ''] : ['1', force]
    const times = keepFor === undefined ? ['', '', ''] : timesOf(lease, keepFor)
    const args = [owner, ...times, channel, ...forced]
    const reply = await this.#run(openScript, keysOf(stream), args)
    const [state, detail = '', previous = ''] = textsOf(reply)
    if (state === 'held') return { state, retryAfter: Number(detail) }
    if (state === 'ended') return { state }
    if (state !== 'open') throw new Error('Redis gave an unknown answer to open')
    const epoch = Number(detail)
    if (force === undefined) this.#wakes.own(channel)
    this.#wakes.wake(channel, formatPosition({ epoch, seq: force === undefined ? 0 : endSeq }))
    return { state, epoch, previous: parsePosition(previous) }
  }

  async append(stream: string, entry: EventsEntry | EndEntry, trimBefore?: Position): Promise<AppendResult> {
    const id = formatPosition(positionOf(entry))
    // Redis keeps the entries from this id on; the new entry must be one of them.
    const isOlder = trimBefore && comparePositions(trimBefore, positionOf(entry)) < 0
    const trim = trimBefore ? (isOlder ? formatPosition(trimBefore) : id) : ''
    const before = formatPosition({ epoch: entry.epoch, seq: seqBefore(entry) })
    const [key, channel] = [keyOf(stream), wakeOf(stream)]
    const reply = await this.#run(appendScript, [key], [id, before, channel, trim, ...fieldsOf(entry)])
    const answer = (['stored', 'fenced', 'missing'] as const).find((each) => each === String(reply))
    if (answer === undefined) throw new Error('Redis gave an unknown answer to append')
    if (answer === 'stored') {
      this.#appended.add(key)
      this.#wakes.wake(channel, id)
    } else if (answer === 'fenced') this.#wakes.disown(channel)
    return answer
  }

  async renew(
    stream: string,
    owner: string,
    lease: number,
    keepFor: number,
  ): Promise<{ held: boolean; listeners: number; latest: Position | undefined }> {
    const [key, channel] = [keyOf(stream), wakeOf(stream)]
    if (lease === 0) this.#wakes.disown(channel)
    // An append has found out whether the log is whole.
    const isWhole = this.#appended.delete(key) || lease === 0
    const args = [owner, ...timesOf(lease, keepFor), channel, isWhole ? '0' : '1']
    const reply = await this.#connections.use(({ renewals }) => renewals.renew(keysOf(stream), args))
    const [held, listeners, latest = ''] = textsOf(reply)
    const isHeld = held === '1'
    if (!isHeld) this.#wakes.disown(channel)
    else if (lease === 0) this.#wakes.wake(channel, '')
    const own = this.#wakes.isOwned(channel) ? 1 : 0
    return { held: isHeld, listeners: Number(listeners) + own, latest: parsePosition(latest) }
  }

  async read(stream: string, from: Position | 'first' | 'last', limit: number): Promise<readonly Entry[]> {
    const key = keyOf(stream)
    if (from === 'last') {
      const latest = ['XREVRANGE', key, '+', '-', 'COUNT', '1']
      const entries = entriesOf(await this.#connections.use(({ reads }) => reads.send(latest)))
      this.#pageSize.note(key, entries)
      return entries
    }
    // Thousands of clients that come at once want the oldest entry alone, and entries may be 64 KiB each.
    const count = limit === 1 ? 1 : this.#pageSize.entriesFor(key, limit)
    const entries = entriesOf(await this.#reads.read(key, idBefore(from), count))
    this.#pageSize.note(key, entries)
    return entriesUpTo(limit, entries)
  }

  watch(stream: string, wake: Watcher): () => void {
    return this.#isClosed ? () => {} : this.#wakes.watch(wakeOf(stream), wake)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#wakes.close()
    this.#connections.close()
  }

  #run(script: Script, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown> {
    return this.#connections.use(({ appends }) => runScript(appends, script, keys, args))
  }
}

/** The entries whose events have at most `limit` bytes together; at least one. */
function entriesUpTo(limit: number, entries: readonly Entry[]): readonly Entry[] {
  let bytes = 0
  const end = entries.findIndex((entry, n) => {
    bytes += entry.kind === 'events' ? entry.bytes.length : 0
    return n > 0 && bytes > limit
  })
  return end === -1 ? entries : entries.slice(0, end)
}

/** The key of a stream's log. Braces make the key and those beside it one slot of a cluster. */
function keyOf(stream: string): string {
  // A lone surrogate has no UTF-8 form, and two streams must never have one key.
  const name = stream.replace(/[{}%]|\p{Surrogate}/gu, (unit) => `%${unit.charCodeAt(0).toString(16)}`)
  return `${keyStart}${name}}`
}

/** The keys of a stream's log and of its lease. */
function keysOf(stream: string): [string, string] {
  const key = keyOf(stream)
  return [key, `${key}:lease`]
}

/** The channel on which changes of a stream are announced. */
function wakeOf(stream: string): string {
  return `${keyOf(stream)}:wake`
}

/**
 * The lease, the time for which the log is kept after it, and both together. Redis takes whole milliseconds, and removes a key at once
 * whose time is 0.
 */
function timesOf(lease: number, keepFor: number): [string, string, string] {
  const [ms, kept] = [Math.ceil(lease), Math.max(1, Math.ceil(keepFor))]
  return [`${ms}`, `${kept}`, `${ms + kept}`]
}

function textsOf(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map(String) : []
}
