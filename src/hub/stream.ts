import { asError, SseError } from '../errors.ts'
import { ResumePolicy } from '../reconnect/resume-policy.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import { SharedStreamAnnouncer } from './announcer.ts'
import { Log } from './log.ts'
import type { Member } from './member.ts'
import { dismissalRetry, Members } from './members.ts'
import type { CheckedStreamOptions } from './options.ts'
import { type ClientPlace, type HubContext, Ownership, type OwnershipListener } from './ownership.ts'
import { findPlace, type Place, startOf } from './place.ts'
import { formatId, parseId } from './position-id.ts'
import { SharedCalls } from './shared-calls.ts'
import { comparePositions, type Entry, type Position } from './store.ts'

/** While this process has the upstream, wakes of the store within this many milliseconds are one. */
const wakeInterval = 25

/** The shortest time between two calls for the lease that wakes cause, in milliseconds: most wakes tell of events. */
const askInterval = 100

/**
 * A shared stream in this process: lets clients join its log, reads the log when the store has new events, and decides when this
 * process asks for the upstream.
 */
export class SharedStream implements OwnershipListener {
  readonly name: string
  readonly options: CheckedStreamOptions
  readonly log: Log
  readonly members: Members
  readonly announcer: SharedStreamAnnouncer
  readonly ownership: Ownership
  readonly #context: HubContext
  readonly #onUnused: (stream: SharedStream) => void
  readonly #unwatch: () => void
  /** The names of options about which a caller was warned; undefined without any. */
  #warned: Set<string> | undefined
  readonly #entryReads = new SharedCalls<readonly Entry[]>()
  #onEmpty: (() => void) | undefined
  #factory: UpstreamFactory | undefined
  /** Whether the hub is being closed: this process no longer takes the upstream. */
  #isDraining = false
  /** When to ask the store again for the lease, on the clock of `performance.now()`. */
  #retryAt = Number.NEGATIVE_INFINITY
  /** When the store was asked for the lease, on the clock of `performance.now()`. */
  #askedAt = Number.NEGATIVE_INFINITY
  /** Whether the store has woken this process since it was read, and whether it is being read for a wake. */
  #isWoken = false
  /** Whether the wakes of the store tell which entry was appended. */
  #isTold = false
  #isChecking = false
  /** Since when no client and no other process listens, on the clock of `performance.now()`. */
  #unusedSince = performance.now()
  #syncedAt = performance.now()
  /** Running while this process asks the store for the lease. */
  #acquisition: Promise<Position | undefined> | undefined
  #wake: NodeJS.Timeout | undefined
  #asking: NodeJS.Timeout | undefined
  /** The number of calls that need the stream without being clients. */
  #holds = 0
  #isClosed = false
  /** The number of members whose place is not known yet. */
  #joining = 0

  constructor(
    context: HubContext,
    name: string,
    options: CheckedStreamOptions,
    onUnused: (stream: SharedStream) => void,
  ) {
    this.name = name
    this.options = options
    this.#context = context
    this.#onUnused = onUnused
    this.log = new Log(context.store, context.access, name, context.options.windowBytes, context.turns)
    this.members = new Members(this.log, options)
    this.announcer = new SharedStreamAnnouncer(context.hub, name, options, this)
    this.ownership = new Ownership(context, name, this.log, options, this)
    this.#unwatch = context.store.watch(name, (latest) => this.#onWake(latest))
  }

  /** Whether a client that is disconnected can come back and resume, at this process or another one. */
  get isResumable(): boolean {
    return new ResumePolicy(this.options.resume, this.#factory?.method).isRepeatable
  }

  /**
   * Whether the stream goes on after this process has closed. A stream that cannot be resumed ends when the process closes that has the
   * upstream of the stream, and goes on when another process closes.
   */
  get outlivesProcess(): boolean {
    return this.isResumable || !this.ownership.isActive
  }

  /** The shortest time limit of the stream, in milliseconds: how exact the calls of `tick` must be. */
  get shortestLimit(): number {
    const { heartbeat, linger, stallTimeout, maxAge = 0 } = this.options
    const limits = [heartbeat, linger, stallTimeout, maxAge].filter((limit) => limit > 0)
    return Math.min(...limits, this.#context.options.lease / 3, this.#context.options.poll)
  }

  /**
   * Adds a client, and opens the upstream where no process has it.
   *
   * @param factory - Undefined for a client that joins an existing stream only.
   * @returns The client's place; undefined when the client has left meanwhile.
   * @throws {@link SseError} `ERR_SSE_STREAM_UNKNOWN` or `ERR_SSE_STREAM_GONE` for a client that cannot be served,
   * `ERR_SSE_STORE` when the store is away.
   */
  join(member: Member, factory: UpstreamFactory | undefined): Promise<Place | undefined> {
    this.members.add(member)
    this.#factory ??= factory
    const { local, joins } = this.#context
    this.#joining++
    const place = local ? this.#placeOf(member) : joins.run(() => this.#placeOf(member))
    return place.finally(() => {
      this.#joining--
    })
  }

  async #placeOf(member: Member): Promise<Place | undefined> {
    if (!this.members.has(member)) return undefined
    const { lastEventId } = member.request
    const { position } = parseId(lastEventId)
    if (!this.ownership.isOwner) await this.#sync()
    // The client was at a process that knows more: that of a later owner, or one that has read an entry before this process was told
    // that the entry is stored.
    else if (position && comparePositions(position, this.log.sent ?? position) > 0) await this.#sync()
    // Clients that have waited for the upstream to be opened get its first event.
    const opened = this.log.tail === undefined ? await this.#openFor(lastEventId) : undefined
    if (!this.members.has(member)) return undefined
    this.log.flush()
    const start = lastEventId === '' ? opened : this.ownership.startsAfter(lastEventId)
    const place = start ? startOf(start, lastEventId) : await this.#findPlace(member)
    // The upstream opens while the client already gets the events that are stored.
    this.#own()
    return this.members.has(member) ? place : undefined
  }

  /** Opens the upstream without a client. */
  async start(factory: UpstreamFactory): Promise<void> {
    this.#factory ??= factory
    await this.hold(async () => {
      await this.#sync()
      if (!this.log.end) await this.#acquire({ lastEventId: '', cursor: undefined })
    })
  }

  leave(member: Member): void {
    if (!this.members.delete(member)) return
    if (this.members.size > 0) return
    this.#unusedSince = performance.now()
    this.log.dropPages()
    if (this.options.linger === 0) this.#linger(this.#unusedSince)
    this.#closeIfUnused()
  }

  /** Keeps the stream in this process during a call. */
  async hold<T>(call: () => Promise<T>): Promise<T> {
    this.#holds++
    try {
      return await call()
    } finally {
      this.#holds--
      this.#closeIfUnused()
    }
  }

  /** Reads what other processes have written, and takes over where no process has the upstream. */
  async refresh(): Promise<void> {
    await this.#sync()
    this.#own()
  }

  /**
   * Called often, for time limits.
   *
   * @param now - On the clock of `performance.now()`.
   */
  tick(now: number): void {
    this.ownership.renew(now)
    this.#linger(now)
    if (now >= this.#retryAt) this.#own()
    if (!this.ownership.isOwner && !this.log.end && now - this.#syncedAt >= this.#context.options.poll) {
      this.#background(this.#sync())
    }
    if (this.log.readersBehind === 0) this.log.dropPages()
    this.members.tick(now)
  }

  /**
   * Lets another process take the upstream over, where the upstream can be resumed, and tells the clients to come back. Otherwise
   * the stream runs to its end, where this process has the upstream.
   *
   * @param limit - When the remaining clients are disconnected, in milliseconds.
   */
  async drain(limit: number): Promise<void> {
    const { isResumable, outlivesProcess } = this
    this.#isDraining = true
    this.#factory = undefined
    const stopDismissal = outlivesProcess ? this.members.dismiss(limit) : undefined
    if (isResumable) await this.ownership.release('closed')
    await this.#empty(limit)
    stopDismissal?.()
    this.members.onFailure(
      new SseError('ERR_SSE_HUB_CLOSED', 'the hub was closed', { retryAfter: dismissalRetry }),
    )
    await this.ownership.abandon()
  }

  /** Warns of options with other values than the stream's: once for each. */
  warnOf(names: readonly string[]): void {
    const fresh = names.filter((name) => !this.#warned?.has(name))
    if (fresh.length === 0) return
    this.#warned ??= new Set()
    for (const name of fresh) this.#warned.add(name)
    this.announcer.optionsIgnored(fresh)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    clearTimeout(this.#wake)
    clearTimeout(this.#asking)
    this.#unwatch()
    this.log.close()
  }

  onFailure(error: Error): void {
    // Clients get the events that are stored before the failure.
    this.log.flush()
    this.members.onFailure(error)
  }

  onOver(): void {
    this.log.flush()
    if (this.members.size > 0 && !this.log.end) this.#background(this.refresh())
    this.#closeIfUnused()
  }

  /**
   * Opens the upstream for a client of an empty log.
   *
   * @returns The start of the log, if this process has opened the upstream.
   */
  async #openFor(lastEventId: string): Promise<Position | undefined> {
    const { position, cursor } = parseId(lastEventId)
    if (this.#factory === undefined && !position)
      throw new SseError('ERR_SSE_STREAM_UNKNOWN', 'there is no such stream')
    if (position && (this.#factory === undefined || !this.isResumable)) {
      throw new SseError(
        'ERR_SSE_STREAM_GONE',
        'the stream is no longer kept, and its upstream cannot repeat it',
      )
    }
    return this.#acquire({ lastEventId, cursor })
  }

  #findPlace({ request }: Member): Promise<Place> {
    const { store, access } = this.#context
    return findPlace(request, this.log, async (from) => {
      const key = from === 'first' ? from : formatId(from, undefined)
      const [entry] = await this.#entryReads.call(key, () =>
        access.call(() => store.read(this.name, from, 1)),
      )
      return entry
    })
  }

  /** Whether this process can open the upstream, or can fail the stream because no process can. */
  get #mayOwn(): boolean {
    return !this.#isDraining && (this.#factory !== undefined || !this.isResumable)
  }

  /** Opens the upstream, if a client waits for events and no process is known to have the upstream. */
  #own(): void {
    if (this.members.size === 0 || !this.#mayOwn || this.log.end) return
    if (this.ownership.isOwner || performance.now() < this.#retryAt) return
    // A member that joins an empty log decides where the upstream starts, and whether it may be asked at all.
    if (this.log.tail === undefined && this.#joining > 0) return
    // The place in the upstream matters where the store has lost the log.
    this.#background(this.#acquire({ lastEventId: '', cursor: this.log.cursor }))
  }

  #acquire(client: ClientPlace): Promise<Position | undefined> {
    this.#acquisition ??= this.#tryToOwn(client).finally(() => {
      this.#acquisition = undefined
    })
    return this.#acquisition
  }

  async #tryToOwn(client: ClientPlace): Promise<Position | undefined> {
    if (!this.#mayOwn) return undefined
    this.#askedAt = performance.now()
    const isWanted = () => !this.#isClosed && (this.members.size > 0 || this.#holds > 0)
    const wait = await this.ownership.acquire(this.#factory, client, isWanted)
    this.#retryAt = performance.now() + (wait ?? 0)
    if (wait !== undefined) await this.#sync()
    return this.ownership.start
  }

  /** @param latest - The entry of which the wake tells; undefined when unknown. */
  #onWake(latest: Position | undefined): void {
    if (this.ownership.isAppending) return
    const { isOwner, start } = this.ownership
    if (isOwner) {
      // The owner is woken by its own entries too.
      if (latest && latest.epoch === start?.epoch) return
      this.#wake ??= setTimeout(() => {
        this.#wake = undefined
        this.#background(this.#sync())
      }, wakeInterval).unref()
    } else if (this.log.end) {
      return
    } else if (latest) {
      this.#isTold = true
      // Whoever has appended the entry had the lease: it does not run out earlier.
      this.#retryAt = Math.max(this.#retryAt, performance.now() + this.#context.options.lease)
      if (this.log.lacks(latest)) this.#background(this.#sync(latest))
    } else this.#background(this.#onChange())
  }

  async #onChange(): Promise<void> {
    this.#isWoken = true
    if (this.#isChecking) return
    this.#isChecking = true
    try {
      while (this.#isWoken) {
        this.#isWoken = false
        const before = this.log.tail
        await this.#sync()
        // No entry: the owner may have given its lease up. A wake during the read may tell of that, or of an entry that was read.
        // A store that tells which entry was appended tells of no entry here.
        if ((this.log.tail === before || this.#isTold) && !this.#acquisition) this.#ask()
      }
    } finally {
      this.#isChecking = false
    }
  }

  /** Asks the store for the lease, although another process had it when the store was asked before. */
  #ask(): void {
    this.#asking ??= setTimeout(
      () => {
        this.#asking = undefined
        this.#retryAt = Number.NEGATIVE_INFINITY
        this.#own()
      },
      Math.max(0, this.#askedAt + askInterval - performance.now()),
    ).unref()
  }

  async #sync(latest?: Position): Promise<void> {
    this.#syncedAt = performance.now()
    await this.log.sync(latest)
    if (this.log.tail) this.ownership.supersede(this.log.tail.epoch)
  }

  #linger(now: number): void {
    const isUsed = this.members.size > 0 || this.#holds > 0 || this.ownership.listeners > 1
    if (isUsed) this.#unusedSince = now
    else if (this.ownership.isOwner && now - this.#unusedSince >= this.options.linger) {
      this.#background(this.ownership.release('linger'))
    }
  }

  /** Runs a task that no caller waits for. Its failure is one of the store, and ends the clients. */
  #background(task: Promise<unknown>): void {
    this.hold(() => task).catch((error: unknown) => {
      if (this.#isClosed) return
      // Without its upstream too, so that a client that asks now is refused, and does not join a run that is about to fail.
      if (this.ownership.isOwner) this.ownership.onLost(asError(error))
      else this.onFailure(asError(error))
    })
  }

  /** Resolves when the stream has no client and no upstream here, or after a time limit in milliseconds. */
  #empty(limit: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, limit)
      this.#onEmpty = () => {
        clearTimeout(timer)
        resolve()
      }
      this.#closeIfUnused()
    })
  }

  #closeIfUnused(): void {
    if (this.members.size === 0 && !this.ownership.isActive) this.#onEmpty?.()
    if (this.#isClosed || this.members.size > 0 || this.#holds > 0 || this.ownership.isActive) return
    this.close()
    this.#onUnused(this)
  }
}
