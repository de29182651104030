import type { Messages, StreamStats } from '../diagnostics.ts'
import { type HeaderFields, shown } from '../errors.ts'
import { onAbort } from '../http/abort.ts'
import { lastEventIdFrom } from '../http/fields.ts'
import { completeOptions } from '../reconnect/options.ts'
import { ReconnectingStream } from '../reconnect/reconnecting-stream.ts'
import type { Announced, Sink } from '../reconnect/sink.ts'
import { EventTracker, type EventTrackerOptions } from '../resume/tracker.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import { type SseEvent, serializeEvent } from '../wire/event.ts'
import type { ClientRequestLike } from './client.ts'
import type { Downstream } from './downstream.ts'
import type { Drainable } from './drain.ts'
import { faultOf } from './head.ts'
import { type CheckedRelayOptions, checkRelayOptions, type RelayOptions } from './options.ts'
import { Reply } from './reply.ts'
import type { ReplyOutcome, ReplyOwner } from './reply-owner.ts'
import { type TransformStage, type TransformTarget, transformInto } from './transform.ts'

/**
 * The result of a relay.
 *
 * @example
 * ```ts
 * import type { RelaySummary } from 'resilient-sse'
 *
 * const line = ({ outcome, stats }: RelaySummary) => `${outcome} after ${stats.events} events, ${stats.opens} connections`
 * ```
 */
export interface RelaySummary {
  /**
   * - `'ended'`: the stream ended.
   * - `'client-gone'`: the client disconnected before the end.
   * - `'refused'`: the client got a status other than 200.
   * - `'failed'`: the stream failed, and the response was ended or broken.
   * - `'drained'`: a drain ended the response, and the client reconnects.
   */
  readonly outcome: 'ended' | 'client-gone' | 'refused' | 'failed' | 'drained'
  /** The error that the stream failed or was aborted with; undefined otherwise. */
  readonly error: Error | undefined
  /** The last event ID of the events that were passed on; `''` without one. */
  readonly lastEventId: string
  /** Where the stream could be resumed; undefined when unknown. */
  readonly cursor: string | undefined
  /** The stream's counters. */
  readonly stats: StreamStats
}

/** Passes one stream on to one response. */
export class Relay implements Sink, ReplyOwner, Drainable, TransformTarget {
  readonly #options: CheckedRelayOptions
  readonly #downstream: Downstream
  readonly #reply: Reply
  readonly #stream: ReconnectingStream
  /** Created after the head was sent: a generator may send an event of its own at the start. */
  #stage: TransformStage | undefined
  readonly #signal: AbortSignal | undefined
  #error: Error | undefined
  #isStarted = false
  #ignoreSignal: (() => void) | undefined
  #resolve: ((summary: RelaySummary | Promise<never>) => void) | undefined

  constructor(
    request: ClientRequestLike,
    downstream: Downstream,
    factory: UpstreamFactory,
    options: RelayOptions,
  ) {
    if (typeof factory !== 'function')
      throw new TypeError(`factory must be a function, got ${shown(factory)}`)
    const { relay: own, source } = checkRelayOptions(options)
    this.#options = own
    this.#downstream = downstream
    this.#signal = source.signal
    this.#reply = new Reply(request, downstream, own, source.reconnect.maxRetryAfter, this)
    const { transform, cursorAsId } = own
    const lastEventId = source.lastEventId ?? lastEventIdFrom(request)
    const start = cursorAsId ? startAt(lastEventId, source) : { lastEventId }
    const objectMode = transform !== undefined || cursorAsId
    this.#stream = new ReconnectingStream(factory, completeOptions({ ...source, ...start, objectMode }), this)
  }

  /** Relays until the stream ends or the client disconnects. */
  run(): Promise<RelaySummary> {
    return new Promise((resolve) => {
      this.#resolve = resolve
      this.#reply.listen()
      if (this.#reply.phase === 'over') return
      this.#options.drain?.add(this)
      this.#listenToSignal()
      this.#reply.begin()
    })
  }

  get isBetweenBlocks(): boolean {
    return this.#stream.isBetweenBlocks
  }

  /** Writes without a detour: an upstream's chunk becomes a write after few calls. */
  blocks(bytes: Buffer): boolean {
    const written = this.#reply.prepare(bytes)
    return written === undefined || this.#downstream.write(written)
  }

  event(event: SseEvent): boolean {
    const named = this.#options.cursorAsId ? this.#withCursor(event) : event
    if (named === undefined) return true
    if (!this.#stage) return this.#reply.write(serializeEvent(named))
    // A block without data is not an event (HTML, 9.2.6), so the transform is not called with it.
    if (event.data !== undefined) return this.#stage.push(named)
    return this.#stage.isQueue || this.#reply.write(serializeEvent(named))
  }

  reconnectionTime(milliseconds: number): void {
    if (Number.isSafeInteger(milliseconds)) this.#reply.retry(milliseconds)
  }

  opened(headers: HeaderFields): void {
    this.#reply.open(headers)
    if (this.#reply.phase === 'disconnected') this.#startStage()
    this.#reply.status('live')
  }

  announced<K extends Announced>(kind: K, message: Messages[K]): void {
    if (kind === 'gap') this.#reply.status('gap')
    if (kind !== 'retry' || !('delay' in message)) return
    if (this.#reply.mayWait(message.delay)) this.#reply.status('reconnecting')
    else this.#stream.fail(message.error)
  }

  end(): void {
    if (this.#stage) this.#stage.end(undefined)
    else this.#reply.end()
  }

  fail(error: Error): void {
    this.#error = error
    if (this.#stage && !faultOf(error)) this.#stage.end(error)
    else this.#reply.fail(error)
  }

  /** Called by a transform; see {@link TransformTarget}. */
  write(event: SseEvent): Promise<void> | undefined {
    const hasRoom = this.#reply.write(serializeEvent(event))
    return hasRoom || this.#reply.phase !== 'open' ? undefined : this.#reply.room()
  }

  /** Called when a transform has ended: after the stream, or before the end of the stream. */
  onEnd(fault: Error | undefined): void {
    if (this.#reply.phase === 'over') return
    if (fault) this.#stream.fail(fault)
    this.#stream.stop()
    // A stream that is already over does not report the fault.
    if (fault) this.#error = fault
    if (this.#error) this.#reply.fail(this.#error)
    else this.#reply.end()
  }

  onQueueDrain(): void {
    this.#stream.resume()
  }

  onBegin(): void {
    this.#isStarted = true
    this.#stream.start()
  }

  onHead(): void {
    this.#startStage()
    this.#options.drain?.opened(this)
  }

  onRoom(): void {
    if (!this.#stage?.isQueue) this.#stream.resume()
  }

  onDisconnect(): void {
    if (this.#options.onClientGone === 'drain' && this.#isStarted) this.#stream.resume()
    else this.#reply.close()
  }

  onFault(fault: Error): void {
    this.#error = fault
    this.#stream.stop(fault)
  }

  onOver(outcome: ReplyOutcome, fault: Error | undefined): void {
    // Closes an adopted response even if the stream was not started.
    this.#stream.stop()
    this.#stage?.destroy()
    this.#options.drain?.delete(this)
    this.#ignoreSignal?.()
    const { lastEventId, cursor, stats } = this.#stream
    const summary = { outcome, error: this.#error, lastEventId, cursor, stats }
    this.#resolve?.(fault ? Promise.reject(fault) : summary)
    this.#resolve = undefined
  }

  dismiss(retry: number): boolean {
    if (!this.#stream.isRepeatable || !this.#reply.mayReturn) return false
    this.#stop()
    return this.#reply.dismiss(retry)
  }

  #startStage(): void {
    const { transform } = this.#options
    this.#stage ??= transform && transformInto(transform, this)
  }

  /** The event with the cursor as its id; undefined for a block without data, whose id the client cannot use. */
  #withCursor(event: SseEvent): SseEvent | undefined {
    return event.data === undefined ? undefined : { ...event, id: this.#stream.cursor }
  }

  #listenToSignal(): void {
    const signal = this.#signal
    if (!signal) return
    if (signal.aborted) this.#abort(signal)
    else this.#ignoreSignal = onAbort(signal, () => this.#abort(signal))
  }

  #abort({ reason }: AbortSignal): void {
    if (this.#reply.phase === 'over') return
    const error = new DOMException('The operation was aborted', { name: 'AbortError', cause: reason })
    this.#error = error
    this.#stop(error)
    this.#reply.fail(error)
  }

  #stop(error?: Error): void {
    this.#stream.stop(error)
    this.#stage?.destroy()
  }
}

/** The options of a stream that starts at a cursor instead of a last event ID. */
function startAt(cursor: string | undefined, { identity, windowSize }: EventTrackerOptions) {
  const tracker = new EventTracker({ identity, windowSize })
  tracker.advance({}, cursor)
  return { tracker, lastEventId: undefined, identity: undefined, windowSize: undefined }
}
