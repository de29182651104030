import { createHash } from 'node:crypto'
import { SseError } from '../errors.ts'
import { connectLike, type RedisArgument, type RedisClient, type RedisConnection } from './redis-client.ts'
import { checkVersion, isReplicaError, redisError } from './redis-errors.ts'
import { appendScript, endSeqInRedis, openScript, renewScript } from './redis-scripts.ts'
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

/** The least and the most entries that one read asks for. */
const leastEntries = 8
const mostEntries = 10_000

/**
 * Keeps the logs of shared streams in Redis or Valkey, for hubs on any number of machines.
 *
 * Each stream is a Redis Stream whose ids are the positions of its entries. Redis refuses an id that is not above the latest one:
 * this refusal is what keeps a former owner from appending. The store opens three connections like that of the client: for appends,
 * for reads, and for wakes.
 *
 * @param client - A client of the package redis or ioredis, version 6. The store duplicates it, and sends nothing through it.
 * In a cluster, ioredis must have the option `shardedSubscribers`: without it, wakes are lost.
 */
export function redisStore(client: RedisClient): StreamStore {
  return new RedisStore(client)
}

interface Connections {
  /** Rejects when the server is too old. */
  readonly checked: Promise<void>
  readonly appends: RedisConnection
  readonly reads: RedisConnection
  readonly wakes: RedisConnection
}

interface PendingRead {
  readonly args: RedisArgument[]
  resolve(reply: unknown): void
  reject(error: unknown): void
}

class RedisStore implements StreamStore {
  readonly #client: RedisClient
  #connections: Connections | undefined
  readonly #watchers = new Map<string, Set<() => void>>()
  /** The channels that the connection is subscribed to, and those for which a call is not answered. */
  readonly #subscribed = new Set<string>()
  readonly #changing = new Set<string>()
  /** Reads that wait for the answers to the reads before them. */
  #reads: PendingRead[] = []
  #isReading = false
  #isClosed = false
  /** The mean size of an entry, in bytes: how many entries a read asks for. */
  #entrySize = 1024

  constructor(client: RedisClient) {
    this.#client = client
  }

  async open(stream: string, owner: string, options: OpenOptions): Promise<OpenResult> {
    const { lease, keepFor, force } = options
    const forced = force === undefined ? ['0', ''] : ['1', force]
    const reply = await this.#run(openScript, stream, [
      owner,
      `${lease}`,
      `${keepFor}`,
      wakeOf(stream),
      ...forced,
    ])
    const [state, detail = '', previous = ''] = textsOf(reply)
    if (state === 'held') return { state, retryAfter: Number(detail) }
    if (state === 'open') return { state, epoch: Number(detail), previous: parsePosition(previous) }
    if (state === 'ended') return { state }
    throw new Error('Redis gave an unknown answer to open')
  }

  async append(stream: string, entry: EventsEntry | EndEntry, trimBefore?: Position): Promise<AppendResult> {
    const id = formatPosition(positionOf(entry))
    // Redis keeps the entries from this id on; the new entry must be one of them.
    const isOlder = trimBefore && comparePositions(trimBefore, positionOf(entry)) < 0
    const trim = trimBefore ? (isOlder ? formatPosition(trimBefore) : id) : ''
    const before = `${seqBefore(entry)}`
    const reply = await this.#run(appendScript, stream, [
      id,
      before,
      wakeOf(stream),
      trim,
      ...fieldsOf(entry),
    ])
    const answer = (['stored', 'fenced', 'missing'] as const).find((each) => each === String(reply))
    if (answer === undefined) throw new Error('Redis gave an unknown answer to append')
    return answer
  }

  async renew(
    stream: string,
    owner: string,
    lease: number,
    keepFor: number,
  ): Promise<{ held: boolean; listeners: number }> {
    const reply = await this.#run(renewScript, stream, [owner, ...timesOf(lease, keepFor), wakeOf(stream)])
    const [held, listeners] = textsOf(reply)
    return { held: held === '1', listeners: Number(listeners) }
  }

  async read(stream: string, from: Position | 'first' | 'last', limit: number): Promise<readonly Entry[]> {
    const key = keyOf(stream)
    if (from === 'last') return entriesOf(await this.#read(['XREVRANGE', key, '+', '-', 'COUNT', '1']))
    const start = from === 'first' ? '-' : startOf(from)
    const count = Math.max(leastEntries, Math.min(mostEntries, Math.ceil(limit / this.#entrySize)))
    const entries = entriesOf(await this.#read(['XRANGE', key, start, '+', 'COUNT', `${count}`]))
    return this.#upTo(limit, entries)
  }

  watch(stream: string, wake: () => void): () => void {
    const channel = wakeOf(stream)
    const watchers = this.#watchers.get(channel) ?? new Set()
    this.#watchers.set(channel, watchers)
    const watcher = () => wake()
    watchers.add(watcher)
    if (!this.#isClosed) this.#subscribe(channel)
    return () => {
      watchers.delete(watcher)
      if (watchers.size > 0 || this.#watchers.get(channel) !== watchers) return
      this.#watchers.delete(channel)
      this.#subscribe(channel)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#watchers.clear()
    this.#disconnect()
  }

  /** Subscribes to a channel, or ends the subscription, one call after another: a client mixes up calls that overlap. */
  #subscribe(channel: string): void {
    const { wakes } = this.#connect()
    if (this.#changing.has(channel)) return
    const wants = this.#watchers.has(channel)
    if (wants === this.#subscribed.has(channel)) return
    if (wants) this.#subscribed.add(channel)
    else this.#subscribed.delete(channel)
    this.#changing.add(channel)
    const change = wants ? wakes.subscribe(channel) : wakes.unsubscribe(channel)
    const onAnswer = (isDone: boolean) => {
      if (this.#connections?.wakes !== wakes) return
      this.#changing.delete(channel)
      if (isDone) this.#subscribe(channel)
      // Without a subscription, the hub finds changes by reading now and then.
      else this.#subscribed.delete(channel)
    }
    change.then(
      () => onAnswer(true),
      () => onAnswer(false),
    )
  }

  /**
   * Makes a call, once the server's version is known.
   *
   * @throws {@link SseError} `ERR_SSE_STORE` when no repetition can succeed.
   */
  async #use<T>(call: (connections: Connections) => Promise<T>): Promise<T> {
    const connections = this.#connect()
    try {
      await connections.checked
      return await call(connections)
    } catch (error) {
      const { appends, reads, wakes, checked } = connections
      const isOver = [appends, reads, wakes].some(({ isClosed }) => isClosed)
      // After a fail-over, the connections may lead to the former master, and stay there.
      const isStale = isOver || isReplicaError(error) || (await isRejected(checked))
      if (isStale && this.#connections === connections) this.#disconnect()
      throw redisError(error)
    }
  }

  #disconnect(): void {
    const connections = this.#connections
    this.#connections = undefined
    this.#subscribed.clear()
    this.#changing.clear()
    if (!connections) return
    for (const each of [connections.appends, connections.reads, connections.wakes]) each.close()
  }

  #connect(): Connections {
    if (this.#isClosed) throw new SseError('ERR_SSE_STORE', 'the store of shared streams was closed')
    if (this.#connections) return this.#connections
    const ignore = () => {}
    const appends = connectLike(this.#client, ignore)
    const checked = checkVersion(appends.send)
    checked.catch(() => {})
    this.#connections = {
      checked,
      appends,
      reads: connectLike(this.#client, ignore),
      wakes: connectLike(this.#client, (channel) => {
        for (const wake of this.#watchers.get(channel) ?? []) wake()
      }),
    }
    for (const channel of this.#watchers.keys()) this.#subscribe(channel)
    return this.#connections
  }

  /** Runs a script by its digest, and sends its text when the server does not have it (a restart, or SCRIPT FLUSH). */
  async #run(script: string, stream: string, args: readonly RedisArgument[]): Promise<unknown> {
    const key = keyOf(stream)
    const rest = ['2', key, `${key}:lease`, ...args]
    return this.#use(async ({ appends }) => {
      try {
        return await appends.send(['EVALSHA', createHash('sha1').update(script).digest('hex'), ...rest])
      } catch (error) {
        if (!(error instanceof Error && error.message.includes('NOSCRIPT'))) throw error
        return appends.send(['EVAL', script, ...rest])
      }
    })
  }

  /** Sends a read, or lets it wait for the reads before it: many streams that change at once are read together. */
  #read(args: RedisArgument[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#reads.push({ args, resolve, reject })
      if (!this.#isReading) this.#sendReads()
    })
  }

  #sendReads(): void {
    const batch = this.#reads
    this.#reads = []
    this.#isReading = batch.length > 0
    if (batch.length === 0) return
    const sent = batch.map(({ args, resolve, reject }) =>
      this.#use(({ reads }) => reads.send(args)).then(resolve, reject),
    )
    void Promise.all(sent).then(() => this.#sendReads())
  }

  /** The entries whose events have at most `limit` bytes together; at least one. */
  #upTo(limit: number, entries: readonly Entry[]): readonly Entry[] {
    let bytes = 0
    let count = 0
    for (const entry of entries) {
      const size = entry.kind === 'events' ? entry.bytes.length : 0
      this.#entrySize += (size - this.#entrySize) / 64
      if (count > 0 && bytes + size > limit) break
      bytes += size
      count++
    }
    return entries.slice(0, count)
  }
}

/** The key of a stream's log. Braces make the key and those beside it one slot of a cluster. */
function keyOf(stream: string): string {
  // A lone surrogate has no UTF-8 form, and two streams must never have one key.
  const name = stream.replace(/[{}%]|\p{Surrogate}/gu, (unit) => `%${unit.charCodeAt(0).toString(16)}`)
  return `rs:{${name}}`
}

/** The channel on which changes of a stream are announced. */
function wakeOf(stream: string): string {
  return `${keyOf(stream)}:wake`
}

/** The id from which to read: nothing of an epoch follows its end. */
function startOf({ epoch, seq }: Position): string {
  return seq > endSeq ? `${epoch + 1}-0` : formatPosition({ epoch, seq })
}

/** Redis takes whole milliseconds, and removes a key at once whose time is 0. */
function timesOf(lease: number, keepFor: number): [string, string] {
  return [`${Math.ceil(lease)}`, `${Math.max(1, Math.ceil(keepFor))}`]
}

function formatPosition({ epoch, seq }: Position): string {
  return `${epoch}-${seq >= endSeq ? endSeqInRedis : seq}`
}

/** @returns Undefined for an empty text. */
function parsePosition(text: string): Position | undefined {
  const [epoch = '', seq = ''] = text.split('-')
  if (epoch === '' || seq === '') return undefined
  const position = { epoch: Number(epoch), seq: seq === endSeqInRedis ? endSeq : Number(seq) }
  return Number.isSafeInteger(position.epoch) && Number.isSafeInteger(position.seq) ? position : undefined
}

/** The `seq` of the entry that the log must have before this one. */
function seqBefore(entry: EventsEntry | EndEntry): number {
  if (entry.kind === 'events') return entry.first - 1
  return entry.previous?.epoch === entry.epoch ? entry.previous.seq : 0
}

/** The fields of an entry in Redis. Redis stores the names of fields once where consecutive entries have the same fields. */
function fieldsOf(entry: EventsEntry | EndEntry): RedisArgument[] {
  const age = ['a', `${entry.at - entry.epoch}`]
  if (entry.kind === 'events') {
    const { bytes, first, last, cursor } = entry
    return ['d', bytes, 'n', `${last - first}`, ...age, ...(cursor === undefined ? [] : ['c', cursor])]
  }
  const { how, previous, code, status, reason } = entry
  const optional = { p: previous && formatPosition(previous), c: code, s: status?.toString(), r: reason }
  const given = Object.entries(optional).flatMap(([name, value]) =>
    value === undefined ? [] : [name, value],
  )
  return ['x', how, ...age, ...given]
}

/** The entries of a reply to XRANGE or XREVRANGE. */
function entriesOf(reply: unknown): Entry[] {
  if (!Array.isArray(reply)) throw new Error('Redis gave an unknown answer to a read')
  return reply.map(entryOf)
}

function entryOf(item: unknown): Entry {
  const [id, fields] = Array.isArray(item) ? item : []
  const position = parsePosition(String(id))
  const values = new Map<string, Buffer>()
  if (Array.isArray(fields)) {
    for (let n = 0; n + 1 < fields.length; n += 2) values.set(String(fields[n]), bufferOf(fields[n + 1]))
  }
  const entry = position && parseEntry(position, values)
  if (!entry) {
    const message = `the log of the stream has an entry of another program: ${String(id)}`
    throw new SseError('ERR_SSE_STORE', message)
  }
  return entry
}

function parseEntry({ epoch, seq }: Position, fields: ReadonlyMap<string, Buffer>): Entry | undefined {
  const text = (name: string) => fields.get(name)?.toString()
  const at = epoch + Number(text('a') ?? 0)
  const bytes = fields.get('d')
  if (bytes) {
    const first = seq - Number(text('n'))
    if (!(first >= 1 && first <= seq)) return undefined
    return { kind: 'events', epoch, at, first, last: seq, bytes, cursor: text('c') }
  }
  const opened = text('o')
  if (opened !== undefined) return { kind: 'open', epoch, at, previous: parsePosition(opened) }
  const how = (['ended', 'failed', 'cancelled'] as const).find((each) => each === text('x'))
  if (how === undefined) return undefined
  const status = text('s')
  return {
    kind: 'end',
    epoch,
    at,
    how,
    previous: parsePosition(text('p') ?? ''),
    code: text('c'),
    status: status === undefined ? undefined : Number(status),
    reason: text('r'),
  }
}

function bufferOf(value: unknown): Buffer {
  return Buffer.isBuffer(value) ? value : Buffer.from(String(value))
}

function textsOf(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map(String) : []
}

async function isRejected(promise: Promise<unknown>): Promise<boolean> {
  return promise.then(
    () => false,
    () => true,
  )
}
