import type { Messages } from '../diagnostics.ts'
import { asError, type HeaderFields } from '../errors.ts'
import { type CheckedReconnectOptions, completeOptions } from '../reconnect/options.ts'
import { ReconnectingStream } from '../reconnect/reconnecting-stream.ts'
import { ResumePolicy } from '../reconnect/resume-policy.ts'
import type { Announced, Sink } from '../reconnect/sink.ts'
import { failureOf, faultOf } from '../relay/head.ts'
import { type TransformStage, type TransformTarget, transformInto } from '../relay/transform.ts'
import type { EventTracker } from '../resume/tracker.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import { type SseEvent, serializeEvent } from '../wire/event.ts'
import { Batch } from './batch.ts'
import type { History } from './history.ts'
import { IdInserter } from './id-inserter.ts'
import type { CheckedStreamOptions } from './options.ts'
import { pageSize } from './page.ts'
import { formatId } from './position-id.ts'
import type { Retention } from './retention.ts'
import type { EventsEntry, Position } from './store.ts'

/** Bytes that the store has not acknowledged, from which on the upstream is paused. */
const mostUnstored = 1024 * 1024

/**
 * The most bytes of recent events that are kept to detect repeats after a reconnect; only then are they parsed. The 1,000 events
 * of the default `windowSize` fit where an event has 1 kB. The memory grows with the events.
 */
const repeatBytes = 1024 * 1024

/** The stream that a run belongs to. */
export interface RunOwner {
  /** Whether an entry is stored when `append` returns: as a rule then, it needs no promise. */
  readonly appendsAtOnce: boolean
  /**
   * Appends an entry to the log. False when another run has taken over. Rejects when the store is away.
   *
   * @returns A promise, unless the store is in this process: promises would cost more than such an append itself.
   */
  append(entry: EventsEntry, trimBefore: Position | undefined): boolean | Promise<boolean>
  onOpen(headers: HeaderFields): void
  onAnnounced<K extends Announced>(kind: K, message: Messages[K]): void
  /** Called once, after every event was stored: the upstream has ended, or failed with an error. */
  onComplete(error: Error | undefined): void
  /** Called once when no further event can be stored: the store is away, or another run has taken over. */
  onLost(error: Error | undefined): void
}

/** One upstream under one owner: gives each event its id, and appends the events to the log. */
export class Run implements Sink, TransformTarget {
  readonly needsWholeBlocks = true
  readonly epoch: number
  readonly #owner: RunOwner
  readonly #retention: Retention
  readonly #hasCursor: boolean
  readonly #stream: ReconnectingStream
  readonly #stage: TransformStage | undefined
  /** Undefined where every event is parsed. */
  readonly #inserter: IdInserter | undefined
  /** Of the latest parsed event. */
  #seq = 0
  /** The upstream's place after the latest parsed event. */
  #cursor: string | undefined
  readonly #batch = new Batch(pageSize)
  /** The bytes of the entry that is being appended. */
  #inFlight = 0
  /** Whether the upstream is paused until events are stored. */
  #isFull = false
  #isAppending = false
  #isScheduled = false
  /** Whether the upstream is over: `onComplete` is called once every event is stored. */
  #isComplete = false
  #isOver = false
  #error: Error | undefined
  #onRoom: (() => void) | undefined
  #onIdle: (() => void) | undefined

  constructor(
    epoch: number,
    factory: UpstreamFactory,
    options: CheckedStreamOptions,
    start: { readonly tracker: EventTracker; readonly history: History },
    retention: Retention,
    owner: RunOwner,
  ) {
    this.epoch = epoch
    this.#owner = owner
    this.#retention = retention
    this.#hasCursor = options.cursor !== undefined
    const { cursor, hasEvents } = start.history
    this.#cursor = cursor
    // The upstream cannot be told where the run before this one has stopped.
    if (hasEvents && cursor === undefined) this.#batch.addGap()
    const { heartbeat, transform, linger, retention: _, keepFor, stallTimeout, maxAge, ...source } = options
    const isUnread = !readsEvents(options)
    const isRepeatable = new ResumePolicy(options.resume, factory.method).isRepeatable
    if (isUnread) this.#inserter = new IdInserter(epoch, cursor, pageSize)
    const complete = completeOptions({
      ...source,
      // An upstream that is not asked again after its first event repeats none.
      dedupe: source.dedupe && isRepeatable,
      reconnect: hasEvents ? continued(source.reconnect) : source.reconnect,
      tracker: start.tracker,
      identity: undefined,
      windowSize: undefined,
      objectMode: !isUnread,
      comments: true,
      windowBytes: 0,
      highWaterMark: undefined,
      initialResponse: undefined,
      lastEventId: undefined,
      signal: undefined,
    })
    // Not 0, with which every event would be parsed.
    const windowBytes = complete.dedupe ? repeatBytes : 1
    this.#stream = new ReconnectingStream(factory, isUnread ? { ...complete, windowBytes } : complete, this)
    this.#stage = transform && transformInto(transform, this)
  }

  /** Whether a connection to the upstream is open. */
  get isOpen(): boolean {
    return this.#stream.state === 'open'
  }

  start(): void {
    this.#stream.start()
  }

  /** Stops the upstream at once. Events that are not stored yet are dropped. */
  stop(error?: Error): void {
    this.#isOver = true
    this.#halt(error)
    this.#batch.clear()
    this.#onIdle?.()
  }

  /** Stops the upstream. Resolves when its events so far are stored, or cannot be stored. */
  async finish(): Promise<void> {
    this.#halt()
    if (this.#batch.size > 0 || this.#isAppending) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    }
    this.stop()
  }

  blocks(bytes: Buffer): boolean {
    if (this.#isOver || this.#inserter === undefined) return true
    for (const piece of this.#inserter.insert(bytes)) this.#batch.add(piece)
    // Not in a tick of its own, which would cost as much as the append.
    if (this.#owner.appendsAtOnce) this.#append()
    return this.#schedule()
  }

  event(event: SseEvent): boolean {
    const cursor = (this.#hasCursor ? this.#stream.cursor : event.lastEventId) ?? ''
    // A generator may still hold events from before this place.
    if (!this.#stage?.isQueue) this.#cursor = cursor || undefined
    // A block without data is not an event (HTML, 9.2.6) and is not sent to clients: it moves the upstream's place.
    if (event.data === undefined) return true
    return this.#stage ? this.#stage.push({ ...event, lastEventId: cursor }) : this.#add(event)
  }

  opened(headers: HeaderFields): void {
    this.#owner.onOpen(headers)
  }

  announced<K extends Announced>(kind: K, message: Messages[K]): void {
    if (kind === 'gap') this.#batch.addGap()
    this.#owner.onAnnounced(kind, message)
  }

  end(): void {
    if (this.#stage) this.#stage.end(undefined)
    else this.#complete()
  }

  fail(error: Error): void {
    this.#error = error
    if (this.#stage && !faultOf(error)) this.#stage.end(error)
    else this.#complete()
  }

  /** Called by a transform. */
  write(event: SseEvent): Promise<void> | undefined {
    if (this.#add(event)) return undefined
    return new Promise((resolve) => {
      this.#onRoom = resolve
    })
  }

  onQueueDrain(): void {
    this.#stream.resume()
  }

  onEnd(fault: Error | undefined): void {
    if (this.#isComplete) return
    this.#stream.stop(fault)
    this.#error = fault ?? this.#error
    this.#complete()
  }

  /** @returns Whether more events may follow at once. */
  #add({ event, data, lastEventId }: SseEvent): boolean {
    if (this.#isOver) return true
    const seq = this.#seq + 1
    // A generator may make an event of its own, which has no place: then the place of the event before it is right.
    if (this.#stage?.isQueue && lastEventId !== undefined) this.#cursor = lastEventId || undefined
    const cursor = this.#cursor
    const text = serializeEvent({ id: formatId({ epoch: this.epoch, seq }, cursor), event, data })
    this.#seq = seq
    this.#batch.addText(text, seq, cursor)
    return this.#schedule()
  }

  /** @returns Whether more events may follow at once. */
  #schedule(): boolean {
    // The events of one chunk of the upstream become one entry.
    if (!this.#isScheduled && !this.#isAppending && this.#batch.size > 0) {
      this.#isScheduled = true
      process.nextTick(this.#onTick)
    }
    this.#isFull = this.#batch.size + this.#inFlight >= mostUnstored
    return !this.#isFull
  }

  readonly #onTick = () => {
    this.#isScheduled = false
    this.#append()
  }

  /** Appends one entry after another: an entry whose append must be repeated is always the latest one. */
  #append(): void {
    while (!this.#isAppending && !this.#isOver) {
      const piece = this.#batch.take()
      if (piece === undefined) {
        this.#onIdle?.()
        if (this.#isComplete) this.#report()
        return
      }
      this.#isAppending = true
      this.#inFlight = piece.bytes.length
      const { bytes, first, last, cursor, gap } = piece
      const entry: EventsEntry = {
        kind: 'events',
        epoch: this.epoch,
        at: Date.now(),
        bytes,
        first,
        last,
        cursor,
        gap,
      }
      const stored = this.#owner.append(entry, this.#retention.add(entry))
      if (typeof stored === 'boolean') this.#onAppended(stored)
      else this.#wait(stored)
    }
  }

  #wait(stored: Promise<boolean>): void {
    stored
      .then(
        (isStored) => this.#onAppended(isStored),
        (error: unknown) => this.#onAppended(false, asError(error)),
      )
      .then(() => this.#append())
  }

  #onAppended(isStored: boolean, error?: Error): void {
    this.#isAppending = false
    this.#inFlight = 0
    if (this.#isOver) return
    if (!isStored) {
      this.stop(error)
      this.#owner.onLost(error)
      return
    }
    if (!this.#isFull || this.#batch.size >= mostUnstored) return
    this.#isFull = false
    this.#onRoom?.()
    this.#onRoom = undefined
    if (!this.#stage?.isQueue) this.#stream.resume()
  }

  #complete(): void {
    this.#isComplete = true
    this.#append()
  }

  #report(): void {
    this.#isOver = true
    this.#stage?.destroy()
    this.#owner.onComplete(this.#error)
  }

  #halt(error?: Error): void {
    this.#stream.stop(error)
    this.#stage?.destroy()
  }
}

/** Whether every event must be parsed, because an option looks at it. */
function readsEvents({ transform, cursor, isTerminal, idleResetOn }: CheckedStreamOptions): boolean {
  const looks = transform !== undefined || cursor !== undefined || isTerminal !== undefined
  return looks || idleResetOn === 'events'
}

/**
 * The options for a log that has events. Its upstream has answered with an event stream before: another content type is retried, as
 * it is after the first event of a stream, since it may come from a load balancer during a deploy.
 */
function continued(options: CheckedReconnectOptions): CheckedReconnectOptions {
  const { shouldRetry } = options
  return {
    ...options,
    shouldRetry(error, context) {
      const retryable = context.retryable || failureOf(error).code === 'ERR_SSE_CONTENT_TYPE'
      return shouldRetry ? shouldRetry(error, { ...context, passedOn: true, retryable }) : retryable
    },
  }
}
