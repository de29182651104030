import { randomUUID } from 'node:crypto'
import type { HubReleaseReason, Messages } from '../diagnostics.ts'
import { asError, type HeaderFields, SseError } from '../errors.ts'
import { isWireId } from '../http/fields.ts'
import { ResumePolicy } from '../reconnect/resume-policy.ts'
import type { Announced } from '../reconnect/sink.ts'
import { faultOf, isTransient } from '../relay/head.ts'
import { EventTracker } from '../resume/tracker.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import type { SharedStreamAnnouncer } from './announcer.ts'
import { Appends } from './appends.ts'
import type { CallTurns } from './call-turns.ts'
import { endOf, errorIn } from './end.ts'
import { type History, readHistory } from './history.ts'
import type { Log } from './log.ts'
import type { Members } from './members.ts'
import type { LocalStore } from './memory-store.ts'
import type { CheckedHubOptions, CheckedStreamOptions } from './options.ts'
import type { PageTurns } from './page-turns.ts'
import { Retention } from './retention.ts'
import { Run, type RunOwner } from './run.ts'
import {
  type EndEntry,
  type EventsEntry,
  type OpenResult,
  type Position,
  positionOf,
  type StreamStore,
} from './store.ts'
import type { StoreAccess } from './store-access.ts'

/**
 * The longest time until the next attempt for which clients of other processes wait without an answer, in milliseconds: the
 * default of `headTimeout`, which each client has for itself.
 */
const longestWait = 5000

/** What a hub gives to its streams. */
export interface HubContext {
  /** The hub's number in messages. */
  readonly hub: number
  readonly options: CheckedHubOptions
  readonly store: StreamStore
  /** The store, if it is in the memory of this process. */
  readonly local: LocalStore | undefined
  readonly access: StoreAccess
  readonly turns: PageTurns
  /** The turns of clients that are finding their place. */
  readonly joins: CallTurns
}

/** Where a client stands for whom the upstream is opened. */
export interface ClientPlace {
  /** `''` without one. */
  readonly lastEventId: string
  /** Where the upstream can be resumed for this client; undefined when unknown. */
  readonly cursor: string | undefined
}

/** What the store has answered to `open`. */
interface Beginning {
  readonly epoch: number
  readonly previous: Position | undefined
  /** Whether the store has lost the log that this process knows. */
  readonly isLost: boolean
}

/** Learns what happens to the upstream of a stream. */
export interface OwnershipListener {
  readonly announcer: SharedStreamAnnouncer
  /** Told of the upstream's connections. */
  readonly members: Members
  /** The upstream has failed, and a later client may ask it again; or no event can be stored. */
  onFailure(error: Error): void
  /** This process no longer has the upstream. */
  onOver(): void
}

/** Owns the upstream of a stream for this process: gets the lease, runs the upstream, and gives the lease up. */
export class Ownership implements RunOwner {
  readonly #context: HubContext
  readonly #name: string
  readonly #log: Log
  readonly #options: CheckedStreamOptions
  readonly #listener: OwnershipListener
  /** Made for the first append: most processes own few of the streams that they follow. */
  #appends: Appends | undefined
  #run: Run | undefined
  /** See {@link #owner}; undefined until it is needed. */
  #ownerName: string | undefined
  #headers: HeaderFields | undefined
  /** The last event ID of the client for whom the upstream was opened with an empty log. */
  #startedFrom: string | undefined
  /** The end that this process has written, and the error that the upstream has failed with. */
  #failure: { readonly epoch: number; readonly error: Error } | undefined
  /** Whether the log has events, and whether the upstream may be asked again after them. */
  #hasEvents = false
  #isRepeatable = false
  /** The latest attempt that has failed, and when the next one is due, on the clock of `performance.now()`. */
  #waiting: { readonly error: Error; readonly until: number } | undefined
  #isAcquiring = false
  #isRenewing = false
  /** Running while the upstream is stopped, its events are stored, and the lease is given up. */
  #releasing: Promise<void> | undefined
  #renewedAt = 0
  #listeners = 1

  constructor(
    context: HubContext,
    name: string,
    log: Log,
    options: CheckedStreamOptions,
    listener: OwnershipListener,
  ) {
    this.#context = context
    this.#name = name
    this.#log = log
    this.#options = options
    this.#listener = listener
  }

  /** Whether this process has the upstream, or is about to get it. */
  get isActive(): boolean {
    return this.#run !== undefined || this.#isAcquiring
  }

  get isOwner(): boolean {
    return this.#run !== undefined
  }

  /** Whether the store is being called to append an entry: a store in this process wakes its watchers during the call. */
  get isAppending(): boolean {
    return this.#appends?.isCalling === true
  }

  /** Whether a connection to the upstream is open. */
  get isOpen(): boolean {
    return this.#run?.isOpen === true
  }

  /** The header fields of the upstream's latest response; undefined before the first one. */
  get headers(): HeaderFields | undefined {
    return this.#headers
  }

  /** How many processes watched the stream when the lease was renewed last. */
  get listeners(): number {
    return this.#listeners
  }

  /** The start of the run; undefined without one. */
  get start(): Position | undefined {
    return this.#run && { epoch: this.#run.epoch, seq: 0 }
  }

  /** The start of the log, if the upstream was opened with an empty log for a client with this last event ID. */
  startsAfter(lastEventId: string): Position | undefined {
    return this.#startedFrom === lastEventId ? this.start : undefined
  }

  /** The error that the upstream has failed with, where this process has written the end; otherwise what the entry says. */
  errorOf(end: EndEntry): Error {
    return this.#failure?.epoch === end.epoch ? this.#failure.error : errorIn(end)
  }

  /**
   * Asks the store for the lease, and starts the upstream.
   *
   * @param factory - Undefined where every client here has joined without an upstream. A stream that cannot be resumed is then
   * ended as failed: its clients would otherwise wait for ever for an owner that has stopped.
   * @param client - The client for which the upstream is opened: it decides where a stream with an empty log starts.
   * @returns When to ask again, in milliseconds: another process has the upstream. Undefined when no further call is needed.
   * @throws {@link SseError} `ERR_SSE_STORE`
   */
  async acquire(
    factory: UpstreamFactory | undefined,
    client: ClientPlace,
    isWanted: () => boolean,
  ): Promise<number | undefined> {
    if (this.isActive) return undefined
    this.#isAcquiring = true
    try {
      const { store, options } = this.#context
      const { keepFor } = this.#options
      const { lease } = options
      const owner = this.#owner
      const { tail } = this.#log
      const result = await this.#open(() => store.open(this.#name, owner, { lease, keepFor }), isWanted)
      if (result.state === 'held') return result.retryAfter
      if (result.state === 'open') {
        const isLost = !result.previous && tail !== undefined && tail.epoch < result.epoch
        await this.#begin({ ...result, isLost }, factory, client, isWanted)
      } else await this.#log.sync()
      return undefined
    } finally {
      this.#isAcquiring = false
    }
  }

  async #open(call: () => Promise<OpenResult>, isWanted: () => boolean): Promise<OpenResult> {
    try {
      return await this.#context.access.call(call, isWanted)
    } catch (error) {
      // A client of Redis holds a call while Redis is away, and sends the call when Redis is back. Redis would give this process a lease
      // for which the process no longer waits, and other processes would wait for the end of the lease.
      void this.#giveUp(this.#options.keepFor)
      throw error
    }
  }

  async #begin(
    { epoch, previous, isLost }: Beginning,
    factory: UpstreamFactory | undefined,
    client: ClientPlace,
    isWanted: () => boolean,
  ): Promise<void> {
    this.#renewedAt = performance.now()
    const { store, access } = this.#context
    const { identity, windowSize, retention: limits, resume, cursor: cursorOf } = this.#options
    const tracker = new EventTracker({ identity, windowSize })
    const retention = new Retention(limits)
    // Where the store has lost the log, this process knows where it was.
    const known = isLost ? this.#log.cursor : undefined
    const history: History = previous
      ? await readHistory(store, access, this.#name, tracker, retention)
      : { hasEvents: false, cursor: client.cursor ?? known }
    await this.#log.sync()
    const policy = new ResumePolicy(resume, factory?.method)
    this.#hasEvents = history.hasEvents || isLost
    this.#isRepeatable = policy.isRepeatable
    // A request that is sent once may have been processed for the owner before (RFC 9110, 9.2.2).
    const isSent = this.#hasEvents || policy.isSentOnce || factory === undefined
    if ((previous || isLost) && !policy.isRepeatable && isSent) {
      const message = 'the stream cannot be resumed after its first event, and its owner has stopped'
      const error = new SseError('ERR_SSE_NOT_RESUMABLE', message)
      await this.#seal(epoch, error)
      this.#listener.announcer.release(epoch, 'not-resumable', error)
      return
    }
    if (factory === undefined || !isWanted()) {
      await this.#giveUp(this.#options.keepFor)
      return
    }
    const { cursor } = history
    if (cursor !== undefined && cursorOf) tracker.advance({}, cursor)
    else if (cursor !== undefined && isWireId(cursor)) tracker.advance({ id: cursor })
    this.#startedFrom = previous ? undefined : client.lastEventId
    this.#failure = undefined
    this.#waiting = undefined
    const start = { tracker, history: { hasEvents: this.#hasEvents, cursor } }
    this.#run = new Run(epoch, factory, this.#options, start, retention, this)
    this.#listener.announcer.open(epoch, previous === undefined, cursor || undefined)
    this.#run.start()
  }

  /** Extends the lease when a third of it is over. */
  renew(now: number): void {
    const { access, store, options } = this.#context
    const run = this.#run
    const owner = this.#owner
    if (!run || this.#isRenewing || now - this.#renewedAt < options.lease / 3) return
    this.#isRenewing = true
    const isWanted = () => this.#run === run
    const renewal = async () => {
      const { keepFor } = this.#options
      const { held, listeners, latest } = await access.call(
        () => store.renew(this.#name, owner, options.lease, keepFor),
        isWanted,
      )
      this.#renewedAt = now
      this.#listeners = listeners
      this.#answerElsewhere()
      // A quiet stream appends nothing that would find out what the store has lost.
      const isWhole = held && (latest === undefined || (await this.#appender.repair(latest, isWanted)))
      if (!isWhole && isWanted()) this.#lose(undefined)
    }
    renewal()
      .catch((error: unknown) => isWanted() && this.#lose(asError(error)))
      .finally(() => {
        this.#isRenewing = false
      })
  }

  /** Called when the log has an entry of a later epoch: another owner has taken over. */
  supersede(epoch: number): void {
    if (this.#run && epoch > this.#run.epoch) this.#lose(undefined)
  }

  /** Stops the upstream, stores its last events, and gives the lease up, so that another process may take over. */
  release(reason: 'linger' | 'closed'): Promise<void> {
    // Several clients, and the hub's close, may ask for it while the store has not answered yet.
    this.#releasing ??= this.#release(reason).finally(() => {
      this.#releasing = undefined
    })
    return this.#releasing
  }

  async #release(reason: 'linger' | 'closed'): Promise<void> {
    const run = this.#run
    if (!run) return
    await run.finish()
    if (this.#run !== run) return
    this.#forget(run, reason)
    await this.#giveUp(this.#options.keepFor)
    this.#listener.onOver()
  }

  /** Stops the upstream at once, and gives the lease up. */
  async abandon(): Promise<void> {
    const run = this.#run
    if (!run) return
    this.#forget(run, 'closed')
    run.stop()
    await this.#giveUp(this.#options.keepFor)
  }

  /** The owner's name in the store: one for each run, so that a late call for an earlier run does not change a later one. */
  get #owner(): string {
    this.#ownerName ??= randomUUID()
    return this.#ownerName
  }

  get #appender(): Appends {
    const { store, access } = this.#context
    this.#appends ??= new Appends(store, access, this.#name, this.#log)
    return this.#appends
  }

  get appendsAtOnce(): boolean {
    return this.#context.local !== undefined
  }

  append(entry: EventsEntry, trimBefore: Position | undefined): boolean | Promise<boolean> {
    const { local } = this.#context
    if (!local) return this.#appendRemotely(entry, trimBefore)
    if (!this.#appender.appendNow(local, entry, trimBefore)) return false
    this.#onStored(entry)
    return this.#log.room?.then(() => true) ?? true
  }

  async #appendRemotely(entry: EventsEntry, trimBefore: Position | undefined): Promise<boolean> {
    const run = this.#run
    if (!(await this.#appender.append(entry, trimBefore, () => this.#run === run))) return false
    this.#onStored(entry)
    await this.#log.room
    return true
  }

  #onStored(entry: EventsEntry): void {
    this.#hasEvents = true
    this.#log.accept(entry)
  }

  onOpen(headers: HeaderFields): void {
    this.#headers = headers
    this.#waiting = undefined
    this.#listener.members.onOpen(headers)
  }

  onAnnounced<K extends Announced>(kind: K, message: Messages[K]): void {
    if (kind !== 'retry' || !('delay' in message)) return
    const { delay, error } = message
    this.#waiting = { error, until: performance.now() + delay }
    this.#listener.members.onRetry(delay, error)
    this.#answerElsewhere()
  }

  /**
   * Ends a stream without events whose upstream is not asked again for long. Clients of other processes learn of the failure by the
   * end alone: a program gets its status, and an EventSource returns when the upstream may be asked.
   */
  #answerElsewhere(): void {
    const run = this.#run
    if (!run || !this.#waiting || this.#hasEvents || this.#listeners < 2) return
    const { error, until } = this.#waiting
    if (until - performance.now() <= longestWait) return
    run.stop()
    this.onComplete(error)
  }

  onComplete(error: Error | undefined): void {
    const run = this.#run
    if (!run) return
    this.#complete(run, error).then(
      () => this.#listener.onOver(),
      (fault: unknown) => this.#lose(asError(fault)),
    )
  }

  onLost(error: Error | undefined): void {
    this.#lose(error)
  }

  async #complete(run: Run, error: Error | undefined): Promise<void> {
    // A later client may ask the upstream again, and the log goes on from there.
    if (error && this.#hasEvents && this.#isRepeatable && !faultOf(error) && isTransient(error)) {
      this.#forget(run, 'failure', error)
      await this.#giveUp(this.#options.keepFor)
      this.#listener.onFailure(error)
      return
    }
    await this.#seal(run.epoch, error)
    this.#forget(run, error ? 'failure' : 'end', error)
  }

  /** Writes the end of the stream, and gives the lease up. */
  async #seal(epoch: number, error: Error | undefined): Promise<void> {
    const { options } = this.#context
    const { keepFor } = this.#options
    const { tail } = this.#log
    const entry = endOf(epoch, tail && positionOf(tail), error)
    this.#failure = error && { epoch, error }
    if (await this.#appender.append(entry)) this.#log.accept(entry)
    else await this.#log.sync()
    // A refusal before the first event is the answer to those who wait for it, and not to clients of the next minutes.
    await this.#giveUp(error && !this.#hasEvents ? Math.min(keepFor, 2 * options.poll) : keepFor)
  }

  async #giveUp(keepFor: number): Promise<void> {
    const { access, store } = this.#context
    const owner = this.#owner
    this.#ownerName = undefined
    try {
      await access.call(() => store.renew(this.#name, owner, 0, keepFor))
    } catch {
      // The store is away. The lease ends by itself.
    }
  }

  /** Called when this process no longer has the upstream. Does nothing for a run that was forgotten before. */
  #forget(run: Run, reason: HubReleaseReason, error?: Error): void {
    if (this.#run !== run) return
    this.#run = undefined
    this.#listener.announcer.release(run.epoch, reason, error)
  }

  #lose(error: Error | undefined): void {
    const run = this.#run
    if (!run) return
    this.#forget(run, error ? 'store' : 'superseded', error)
    run.stop(error)
    // Where another owner has the lease, this changes nothing in the log: the store learns that this process is no longer the owner.
    void this.#giveUp(this.#options.keepFor)
    if (error) this.#listener.onFailure(error)
    this.#listener.onOver()
  }
}
