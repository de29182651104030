import { asError, type HeaderFields, SseError } from '../errors.ts'
import { onAbort } from '../http/abort.ts'
import { fieldOf, isFetchHeaders, lastEventIdFrom, tokensOf } from '../http/fields.ts'
import { type ClientRequestLike, clientKind } from '../relay/client.ts'
import type { Downstream, ResponseFields } from '../relay/downstream.ts'
import type { Drainable } from '../relay/drain.ts'
import { sharedFields } from '../relay/head.ts'
import type { RelaySummary } from '../relay/relay-sink.ts'
import { Reply } from '../relay/reply.ts'
import type { ReplyOutcome, ReplyOwner } from '../relay/reply-owner.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import { serializeEvent } from '../wire/event.ts'
import type { JoinRequest, Member } from './member.ts'
import type { CheckedClientOptions } from './options.ts'
import type { Place } from './place.ts'
import { formatId } from './position-id.ts'
import { type GapReason, Reader, type ReaderTarget } from './reader.ts'
import { comparePositions, type EndEntry, type Position } from './store.ts'
import type { SharedStream } from './stream.ts'

/**
 * The result of a relay of a shared stream.
 *
 * @example
 * ```ts
 * import type { SharedRelaySummary } from 'resilient-sse'
 *
 * const line = ({ outcome, lastEventId }: SharedRelaySummary) => `${outcome}, last event ${lastEventId}`
 * ```
 */
export interface SharedRelaySummary {
  /**
   * - `'ended'`: the stream ended.
   * - `'cancelled'`: the stream was cancelled.
   * - `'client-gone'`: the client disconnected before the end.
   * - `'refused'`: the client got a status other than 200.
   * - `'failed'`: the stream failed, and the response was ended or broken.
   * - `'drained'`: a drain, or the hub's close, ended the response.
   * - `'slow'`: the client was disconnected because it did not read.
   * - `'expired'`: the response was ended after `maxAge`.
   */
  readonly outcome: RelaySummary['outcome'] | 'cancelled' | 'slow' | 'expired'
  /** The error that the stream failed or was aborted with; undefined otherwise. */
  readonly error: Error | undefined
  /** The id of the last event that was written to the client, or its place in the stream; `''` without a place. */
  readonly lastEventId: string
}

/** The most bytes that wait for a client that does not read, unless one event is larger. */
const mostPending = 64_000
/** The most bytes that a response adds to a chunk. */
const frameSize = 12

function ignore(): void {}

/** One client of a shared stream: a response, and a place in the stream's log. */
export class HubClient implements Member, ReplyOwner, ReaderTarget, Drainable {
  readonly isBetweenBlocks = true
  readonly request: JoinRequest
  /** Opens the stream when the response's turn has come. Dropped then: the function holds all options of the stream. */
  #openStream: (() => SharedStream) | undefined
  #stream: SharedStream | undefined
  #factory: UpstreamFactory | undefined
  readonly #downstream: Downstream
  readonly #options: CheckedClientOptions
  readonly #reply: Reply
  readonly #wantsJoinId: boolean
  #reader: Reader | undefined
  /** Where the client starts to read; undefined before the place is known, and when it is no longer needed. */
  #place: Place | undefined
  #isJoinIdSent = false
  /** The place in the stream that the client had when it left. */
  #left: Position | undefined
  #outcome: SharedRelaySummary['outcome'] | undefined
  #error: Error | undefined
  /** When the response ends by `maxAge`, on the clock of `performance.now()`. */
  #expires = Number.POSITIVE_INFINITY
  #ignoreSignal = ignore
  #resolve: (summary: SharedRelaySummary) => void = ignore
  #reject: (fault: Error) => void = ignore

  constructor(
    openStream: () => SharedStream,
    factory: UpstreamFactory | undefined,
    request: ClientRequestLike,
    downstream: Downstream,
    options: CheckedClientOptions,
    maxRetryAfter: number,
  ) {
    this.#openStream = openStream
    this.#factory = factory
    this.#downstream = downstream
    this.#options = options
    this.request = {
      lastEventId: options.lastEventId ?? lastEventIdFrom(request) ?? '',
      from: options.from,
    }
    this.#wantsJoinId = options.joinId ?? isEventSource(request)
    this.#reply = new Reply(request, downstream, options, maxRetryAfter, this)
  }

  get headFields(): ResponseFields | undefined {
    const headers = this.#stream?.ownership.headers
    return this.#options.upstreamFields && headers ? sharedFields(headers) : undefined
  }

  /** Sends the stream until it ends or the client disconnects. */
  run(): Promise<SharedRelaySummary> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.#reply.listen()
      if (this.#reply.phase === 'over') return
      this.#options.drain?.add(this)
      this.#listenToSignal()
      if (this.#error === undefined) this.#reply.begin()
    })
  }

  onBegin(): void {
    let stream: SharedStream | undefined
    try {
      stream = this.#openStream?.()
    } catch (error) {
      this.#fail(asError(error))
    }
    if (stream) this.#join(stream)
  }

  #join(stream: SharedStream): void {
    const factory = this.#factory
    this.#stream = stream
    this.#openStream = undefined
    this.#factory = undefined
    const { maxAge } = stream.options
    if (maxAge !== undefined) this.#expires = performance.now() + maxAge * (1 - Math.random() / 10)
    stream.join(this, factory).then(
      (place) => place && this.#read(stream, place),
      (error: unknown) => this.#fail(asError(error)),
    )
  }

  onHead(): void {
    this.#options.drain?.opened(this)
    this.#sendJoinId()
  }

  onOpen(headers: HeaderFields): void {
    if (this.#place === undefined && this.#reader === undefined) return
    this.#reply.open(headers)
    this.#reply.status('live')
  }

  onRetry(delay: number, error: Error): void {
    if (this.#reply.mayWait(delay)) this.#reply.status('reconnecting')
    else this.#fail(error)
  }

  onUpstreamGap(): void {
    if (this.#reply.phase === 'head') this.#reply.open(this.#stream?.ownership.headers)
    this.#reply.status('gap')
  }

  onFailure(error: Error): void {
    this.#fail(error)
  }

  canTake(size: number): boolean {
    const { pending } = this.#downstream
    if (pending === 0 || pending + size + frameSize <= mostPending) return true
    this.#downstream.callWhenEmpty()
    return false
  }

  onEvents(bytes: Buffer): true {
    if (this.#reply.phase === 'head') this.#reply.open(this.#stream?.ownership.headers)
    this.#reply.write(bytes, true)
    return true
  }

  onGap(reason: GapReason): void {
    const refuses = this.#options.onGap ?? (this.#stream?.isResumable ? 'continue' : 'refuse')
    this.#stream?.announcer.gap(reason, this.request.lastEventId, refuses === 'refuse')
    if (refuses === 'continue') {
      this.#reply.open(this.#stream?.ownership.headers)
      this.#reply.status('gap')
      return
    }
    const why = reason === 'trimmed' ? 'the next events are no longer kept' : 'the last event ID is unknown'
    this.#fail(new SseError('ERR_SSE_STREAM_GONE', `the stream cannot be resumed: ${why}`))
  }

  onEnd(end: EndEntry): void {
    const stream = this.#stream
    this.#leave()
    if (end.how === 'failed' && stream) {
      this.#fail(stream.ownership.errorOf(end))
      return
    }
    if (end.how === 'cancelled') this.#outcome = 'cancelled'
    this.#reply.end()
  }

  onRoom(): void {
    this.#reader?.resume()
  }

  onDisconnect(): void {
    this.#reply.close()
  }

  onFault(fault: Error): void {
    this.#error = fault
  }

  onOver(outcome: ReplyOutcome, fault: Error | undefined): void {
    this.#leave()
    this.#options.drain?.delete(this)
    this.#ignoreSignal()
    if (fault) this.#reject(fault)
    this.#resolve({ outcome: this.#outcome ?? outcome, error: this.#error, lastEventId: this.#lastEventId })
  }

  heartbeat(): void {
    if (this.#reply.phase === 'open') this.#reply.heartbeat()
  }

  tick(now: number): void {
    const fullSince = this.#reader?.fullSince
    const { stallTimeout = 0 } = this.#stream?.options ?? {}
    if (stallTimeout > 0 && fullSince !== undefined && now - fullSince >= stallTimeout) {
      this.#outcome = 'slow'
      const message = `the client has taken nothing for ${stallTimeout} ms`
      this.#error = new SseError('ERR_SSE_SLOW_CLIENT', message)
      this.#leave()
      this.#stream?.announcer.slow(this.#lastEventId, stallTimeout)
      this.#downstream.break(this.#error)
    } else if (now >= this.#expires) {
      if (this.#dismiss(this.#options.retry ?? 1000)) this.#outcome = 'expired'
    }
  }

  dismiss(retry: number): boolean {
    // A stream that ends with this process has nothing for a client that reconnects.
    return this.#stream?.outlivesProcess !== false && this.#dismiss(retry)
  }

  #dismiss(retry: number): boolean {
    if (!this.#reply.mayReturn) return false
    this.#leave()
    return this.#reply.dismiss(retry)
  }

  get #lastEventId(): string {
    return this.#left === undefined ? this.request.lastEventId : this.#idOf(this.#left)
  }

  /** The place's id; with the upstream's place where it is known. */
  #idOf(position: Position): string {
    const { sent, cursor } = this.#stream?.log ?? {}
    const isLatest = sent !== undefined && comparePositions(position, sent) === 0
    return formatId(position, isLatest ? cursor : undefined)
  }

  #read(stream: SharedStream, place: Place): void {
    // Before the place is known: the id of the place follows the gap.
    if (place.gap) this.onGap(place.gap)
    this.#place = place
    if (this.#reply.phase !== 'head' && this.#reply.phase !== 'open') return
    const { ownership, log } = stream
    if (ownership.isOpen || (!ownership.isOwner && log.tail?.kind === 'events'))
      this.#reply.open(ownership.headers)
    this.#sendJoinId()
    this.#reader = new Reader(log, place.after, this, this.request.lastEventId === '')
    if (!this.#wantsJoinId || this.#isJoinIdSent) this.#place = undefined
    this.#reader.read()
  }

  /** Gives a client that has no place in the stream an id, so that it can resume before its first event. */
  #sendJoinId(): void {
    const place = this.#place
    if (!this.#wantsJoinId || this.#isJoinIdSent || place === undefined || this.#reply.phase !== 'open')
      return
    this.#isJoinIdSent = true
    if (this.#reader) this.#place = undefined
    if (this.request.lastEventId !== '' && !place.gap) return
    this.#reply.write(serializeEvent({ id: this.#idOf(place.after) }))
  }

  #fail(error: Error): void {
    this.#error ??= error
    this.#leave()
    this.#reply.fail(error)
  }

  #leave(): void {
    this.#left ??= this.#reader?.position ?? this.#place?.after
    this.#reader?.close()
    this.#reader = undefined
    this.#stream?.leave(this)
  }

  #listenToSignal(): void {
    const { signal } = this.#options
    if (!signal) return
    const abort = () => {
      const { reason } = signal
      this.#fail(new DOMException('The operation was aborted', { name: 'AbortError', cause: reason }))
    }
    if (signal.aborted) abort()
    else this.#ignoreSignal = onAbort(signal, abort)
  }
}

/** Whether a request has the fields that browsers and the npm package eventsource send for an EventSource. */
function isEventSource(request: ClientRequestLike): boolean {
  const { headers } = request
  const field = isFetchHeaders(headers) ? headers.get('cache-control') : fieldOf(headers, 'cache-control')
  return clientKind(request) === 'reconnects' && tokensOf([field ?? '']).includes('no-cache')
}
