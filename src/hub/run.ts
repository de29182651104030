import type { Messages } from '../diagnostics.ts'
import { asError, type HeaderFields } from '../errors.ts'
import { type CheckedReconnectOptions, completeOptions } from '../reconnect/options.ts'
import { ReconnectingStream } from '../reconnect/reconnecting-stream.ts'
import type { Announced, Sink } from '../reconnect/sink.ts'
import { failureOf, faultOf } from '../relay/head.ts'
import { type TransformStage, type TransformTarget, transformInto } from '../relay/transform.ts'
import type { EventTracker } from '../resume/tracker.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import { type SseEvent, serializeEvent } from '../wire/event.ts'
import type { History } from './history.ts'
import { pageSize } from './log.ts'
import type { CheckedStreamOptions } from './options.ts'
import { formatId } from './position-id.ts'
import type { Retention } from './retention.ts'
import type { EventsEntry, Position } from './store.ts'

/** Bytes that the store has not acknowledged, from which on the upstream is paused. */
const mostUnstored = 1024 * 1024

interface PendingEvent {
  readonly text: string
  readonly seq: number
  readonly cursor: string | undefined
}

/** The stream that a run belongs to. */
export interface RunOwner {
  /** Appends an entry to the log. Resolves to false when another run has taken over. Rejects when the store is away. */
  append(entry: EventsEntry, trimBefore: Position | undefined): Promise<boolean>
  onOpen(headers: HeaderFields): void
  onAnnounced<K extends Announced>(kind: K, message: Messages[K]): void
  /** Called once, after every event was stored: the upstream has ended, or failed with an error. */
  onComplete(error: Error | undefined): void
  /** Called once when no further event can be stored: the store is away, or another run has taken over. */
  onLost(error: Error | undefined): void
}

/** One upstream under one owner: gives each event its id, and appends the events to the log. */
export class Run implements Sink, TransformTarget {
  readonly epoch: number
  readonly #owner: RunOwner
  readonly #retention: Retention
  readonly #hasCursor: boolean
  readonly #stream: ReconnectingStream
  readonly #stage: TransformStage | undefined
  #seq = 0
  /** The upstream's place after the latest event that was given an id. */
  #cursor: string | undefined
  /** Serialized events that wait for their append, oldest first. */
  #pending: PendingEvent[] = []
  /** The length of all events that are not stored yet. */
  #unstored = 0
  /** Whether the upstream is paused until events are stored. */
  #isFull = false
  #isAppending = false
  #isScheduled = false
  /** Whether the upstream is over: the owner is told once every event is stored. */
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
    const { heartbeat, transform, linger, retention: _, keepFor, stallTimeout, maxAge, ...source } = options
    this.#stream = new ReconnectingStream(
      factory,
      completeOptions({
        ...source,
        reconnect: hasEvents ? continued(source.reconnect) : source.reconnect,
        tracker: start.tracker,
        identity: undefined,
        objectMode: true,
        comments: true,
        windowBytes: 0,
        highWaterMark: undefined,
        initialResponse: undefined,
        lastEventId: undefined,
        signal: undefined,
      }),
      this,
    )
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
    this.#pending = []
    this.#onIdle?.()
  }

  /** Stops the upstream. Resolves when its events so far are stored, or cannot be stored. */
  async finish(): Promise<void> {
    this.#halt()
    if (this.#pending.length > 0 || this.#isAppending) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    }
    this.stop()
  }

  /** Never called: the stream is in object mode. */
  blocks(): boolean {
    return true
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
    this.#pending.push({ text, seq, cursor })
    this.#unstored += text.length
    // The events of one chunk of the upstream become one entry.
    if (!this.#isScheduled && !this.#isAppending) {
      this.#isScheduled = true
      process.nextTick(() => {
        this.#isScheduled = false
        this.#append()
      })
    }
    this.#isFull = this.#unstored >= mostUnstored
    return !this.#isFull
  }

  /** Appends one entry after another: an entry whose append must be repeated is always the latest one. */
  #append(): void {
    if (this.#isAppending || this.#isOver) return
    const { entry, length } = this.#nextEntry()
    if (entry === undefined) {
      this.#onIdle?.()
      if (this.#isComplete) this.#report()
      return
    }
    this.#isAppending = true
    this.#owner.append(entry, this.#retention.add(entry)).then(
      (isStored) => this.#onAppended(isStored, length),
      (error: unknown) => this.#onAppended(false, length, asError(error)),
    )
  }

  #onAppended(isStored: boolean, length: number, error?: Error): void {
    this.#isAppending = false
    if (this.#isOver) return
    if (!isStored) {
      this.stop(error)
      this.#owner.onLost(error)
      return
    }
    this.#unstored -= length
    this.#append()
    if (!this.#isFull || this.#unstored >= mostUnstored) return
    this.#isFull = false
    this.#onRoom?.()
    this.#onRoom = undefined
    if (!this.#stage?.isQueue) this.#stream.resume()
  }

  #nextEntry(): { readonly entry: EventsEntry | undefined; readonly length: number } {
    const [first] = this.#pending
    if (first === undefined) return { entry: undefined, length: 0 }
    let text = ''
    let last = first
    let count = 0
    for (const event of this.#pending) {
      if (count > 0 && text.length + event.text.length > pageSize) break
      text += event.text
      last = event
      count++
    }
    this.#pending = this.#pending.slice(count)
    const entry: EventsEntry = {
      kind: 'events',
      epoch: this.epoch,
      at: Date.now(),
      first: first.seq,
      last: last.seq,
      bytes: Buffer.from(text),
      cursor: last.cursor,
    }
    return { entry, length: text.length }
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
