import type { Messages, StreamStats } from '../diagnostics.ts'
import { asError, type HeaderFields, SseError, shown } from '../errors.ts'
import { onAbort } from '../http/abort.ts'
import { Deadline } from '../http/deadline.ts'
import { lastEventIdFrom } from '../http/fields.ts'
import { isRetryable } from '../reconnect/delay.ts'
import { completeOptions } from '../reconnect/options.ts'
import { ReconnectingStream } from '../reconnect/reconnecting-stream.ts'
import type { Announced, Sink } from '../reconnect/sink.ts'
import { EventTracker } from '../resume/tracker.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import { type SseEvent, serializeEvent } from '../wire/event.ts'
import { type ClientRequestLike, clientKind, hasBody } from './client.ts'
import type { Downstream, DownstreamListener } from './downstream.ts'
import type { Drainable } from './drain.ts'
import { answerTo, failureOf, streamFields } from './head.ts'
import { type CheckedRelayOptions, checkRelayOptions, type RelayOptions } from './options.ts'
import { Output } from './output.ts'
import { type TransformStage, type TransformTarget, transformInto } from './transform.ts'

/** The result of a relay. */
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

/** Writes one stream to one response: the head, events, heartbeats, status events and failures. */
export class Relay implements Sink, DownstreamListener, Drainable, TransformTarget {
  readonly #options: CheckedRelayOptions
  readonly #request: ClientRequestLike
  readonly #downstream: Downstream
  readonly #stream: ReconnectingStream
  /** Created after the head was sent: a generator may send an event of its own at the start. */
  #stage: TransformStage | undefined
  readonly #signal: AbortSignal | undefined
  /** The longest delay that the upstream's Retry-After can set for a client, in milliseconds. */
  readonly #maxRetryAfter: number
  /** Whether the client reconnects by itself, and must not get an error status for a transient failure. */
  readonly #reconnects: boolean
  /**
   * `'head'`: the head was not sent; `'open'`: events are sent to the client; `'reading-on'`: the client disconnected, and the
   * upstream is read to its end; `'over'`: the response is complete, broken or closed.
   */
  #phase: 'head' | 'open' | 'reading-on' | 'over' = 'head'
  #outcome: RelaySummary['outcome'] = 'client-gone'
  #error: Error | undefined
  #upstreamFields: HeaderFields | undefined
  #isStarted = false
  /** The latest time, on the clock of `performance.now()`, at which a retry may be due before the head is sent. */
  #headUntil = 0
  #headDeadline: Deadline | undefined
  readonly #output: Output
  #ignoreSignal: () => void = () => {}
  #resolve: (summary: RelaySummary) => void = () => {}
  #reject: (fault: Error) => void = () => {}

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
    this.#request = request
    this.#downstream = downstream
    this.#signal = source.signal
    this.#output = new Output(downstream, own, () => this.#stream.isBetweenBlocks)
    this.#maxRetryAfter = source.reconnect.maxRetryAfter
    this.#reconnects = own.clientReconnects ?? clientKind(request) === 'reconnects'
    const { transform, cursorAsId } = own
    const lastEventId = source.lastEventId ?? lastEventIdFrom(request)
    const start = cursorAsId ? { lastEventId: undefined, tracker: trackerFrom(lastEventId) } : { lastEventId }
    const objectMode = transform !== undefined || cursorAsId
    this.#stream = new ReconnectingStream(factory, completeOptions({ ...source, ...start, objectMode }), this)
  }

  /** Relays until the stream ends or the client disconnects. */
  run(): Promise<RelaySummary> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      const downstream = this.#downstream
      if (downstream.isClosed) {
        this.#settle('client-gone')
        return
      }
      downstream.listen(this)
      this.#options.drain?.add(this)
      this.#listenToSignal()
      // A request that waits behind another on its connection (pipelining) must not occupy an upstream connection.
      const turn = downstream.turn()
      if (turn) turn.then(() => this.#guard(() => this.#start()))
      else this.#guard(() => this.#start())
    })
  }

  #start(): void {
    if (this.#phase === 'over') return
    if (this.#request.method === 'HEAD') {
      this.#downstream.open(streamFields(this.#downstream))
      this.#endWith('ended')
      return
    }
    const { head, headTimeout } = this.#options
    const isPatient = head === 'auto' && this.#reconnects
    if (head === 'eager' || this.#downstream.isHeadOut || (isPatient && headTimeout === 0)) this.#openHead()
    else if (isPatient)
      this.#headDeadline = new Deadline(headTimeout, () => this.#guard(() => this.#openHead()), false)
    else this.#headUntil = performance.now() + headTimeout
    this.#isStarted = true
    this.#stream.start()
    // A factory that reads the request's body has started to do so in its first call.
    setImmediate(() => this.#downstream.discardRequestBody())
  }

  /** Writes without a detour: an upstream's chunk becomes a write after few calls. */
  blocks(bytes: Buffer): boolean {
    if (this.#phase !== 'open') return true
    // A client strips a byte order mark only from the start of the response, not after a line of our own.
    const isMarked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
    const written = isMarked && this.#output.hasWritten ? bytes.subarray(3) : bytes
    this.#output.onWrite()
    return this.#downstream.write(written)
  }

  event(event: SseEvent): boolean {
    const named = this.#options.cursorAsId ? this.#withCursor(event) : event
    if (named === undefined) return true
    if (!this.#stage) return this.#write(serializeEvent(named))
    // A block without data is not an event (HTML, 9.2.6), so the transform is not called with it.
    if (event.data !== undefined) return this.#stage.push(named)
    return this.#stage.isQueue || this.#write(serializeEvent(named))
  }

  reconnectionTime(milliseconds: number): void {
    if (Number.isSafeInteger(milliseconds) && this.#phase === 'open') this.#output.retry(milliseconds)
  }

  opened(headers: HeaderFields): void {
    this.#upstreamFields = headers
    if (this.#phase === 'head') this.#openHead()
    else if (this.#phase === 'reading-on') this.#startStage()
    if (this.#phase === 'open') this.#output.status('live')
  }

  announced<K extends Announced>(kind: K, message: Messages[K]): void {
    if (kind === 'gap' && this.#phase === 'open') this.#output.status('gap')
    if (kind === 'retry' && 'delay' in message) this.#onRetry(message.delay, message.error)
  }

  end(): void {
    if (this.#phase === 'head') {
      this.#phase = 'over'
      this.#outcome = 'refused'
      this.#downstream.answer({ status: 204, fields: new Map(), body: undefined })
    } else if (this.#stage) this.#stage.end(undefined)
    else this.#finish()
  }

  fail(error: Error): void {
    this.#error = error
    const fault = faultOf(error)
    if (this.#phase === 'head') this.#failHead(error, fault)
    else if (this.#stage && !fault) this.#stage.end(error)
    else this.#finish()
  }

  /** Called by a transform; see {@link TransformTarget}. */
  write(event: SseEvent): Promise<void> | undefined {
    if (this.#write(serializeEvent(event)) || this.#phase !== 'open') return undefined
    return this.#output.room()
  }

  /** Called when a transform has ended: after the stream, or before the end of the stream. */
  onEnd(fault: Error | undefined): void {
    if (this.#phase === 'over') return
    if (fault) this.#stream.fail(fault)
    this.#stream.stop()
    // A stream that is already over does not report the fault.
    if (fault) this.#error = fault
    this.#finish()
  }

  onQueueDrain(): void {
    this.#stream.resume()
  }

  onDrain(): void {
    this.#output.onDrain()
    if (!this.#stage?.isQueue) this.#stream.resume()
  }

  onFinish(): void {
    // An HTTP/2 response also emits `finish` when its client resets the stream, so this counts only after our own end.
    if (this.#phase === 'over') this.#settle(this.#outcome)
  }

  onClose(): void {
    if (this.#phase === 'over') {
      this.#settle(this.#outcome)
      return
    }
    if (this.#phase === 'reading-on') return
    this.#headDeadline?.clear()
    this.#output.close()
    if (this.#options.onClientGone === 'drain' && this.#isStarted) {
      this.#phase = 'reading-on'
      this.#stream.resume()
      return
    }
    this.#phase = 'over'
    this.#stream.stop()
    this.#stage?.destroy()
    this.#settle('client-gone')
  }

  dismiss(retry: number): boolean {
    if (!this.#mayReturn()) return false
    if (this.#phase === 'reading-on') {
      this.#settle('client-gone')
      return false
    }
    this.#stream.stop()
    this.#stage?.destroy()
    this.#sendReconnectionTime(retry)
    this.#endWith('drained')
    return true
  }

  /** Whether the client can reconnect and resume. */
  #mayReturn(): boolean {
    const { clientReconnects } = this.#options
    if (this.#phase === 'over' || !this.#stream.isRepeatable) return false
    if (this.#phase === 'head') return this.#reconnects
    return clientReconnects ?? (!hasBody(this.#request) && clientKind(this.#request) !== 'program')
  }

  /** Sends the head. Heartbeats start, and later failures can no longer be answered with a status. */
  #openHead(): void {
    this.#phase = 'open'
    this.#headDeadline?.clear()
    this.#output.open(this.#upstreamFields)
    const { drain } = this.#options
    this.#startStage()
    drain?.opened(this)
  }

  #startStage(): void {
    const { transform } = this.#options
    this.#stage ??= transform && transformInto(transform, this)
  }

  /** Catches errors while the head is sent: a function of the caller, or middleware of the response, may throw. */
  #guard(act: () => void): void {
    try {
      act()
    } catch (thrown) {
      const fault = asError(thrown)
      this.#error = fault
      this.#stream.stop(fault)
      if (this.#phase === 'open') this.#sendFailure(fault, fault)
      else this.#settle('failed', fault)
    }
  }

  #onRetry(delay: number, error: Error): void {
    if (this.#phase === 'head' && !this.#headDeadline && performance.now() + delay > this.#headUntil) {
      this.#stream.fail(error)
      return
    }
    if (this.#phase === 'open') this.#output.status('reconnecting')
  }

  #failHead(error: Error, fault: Error | undefined): void {
    this.#headDeadline?.clear()
    if (fault) {
      this.#phase = 'over'
      this.#settle('refused', fault)
      return
    }
    // An EventSource fails permanently for any status but 200; nginx turns a connection closed without an answer into a 502.
    if (this.#reconnects && isTransient(error)) {
      const { retryAfter = this.#options.retry ?? 1000 } = failureOf(error)
      this.#sendReconnectionTime(Math.ceil(Math.min(retryAfter, this.#maxRetryAfter) * (1 + Math.random())))
      this.#endWith('failed')
      return
    }
    this.#phase = 'over'
    this.#outcome = 'refused'
    try {
      this.#downstream.answer(answerTo(error, this.#options.refusal?.(error)))
    } catch (thrown) {
      this.#settle('refused', asError(thrown))
    }
  }

  /** @param retry - The reconnection time for the client, in milliseconds. */
  #sendReconnectionTime(retry: number): void {
    if (this.#phase === 'head') {
      this.#phase = 'open'
      this.#downstream.open(streamFields(this.#downstream, this.#upstreamFields))
    }
    this.#output.retry(retry)
  }

  /** Called after the stream's last event: ends or breaks the response. */
  #finish(): void {
    if (this.#phase === 'over') return
    const error = this.#error
    const fault = error && faultOf(error)
    if (this.#phase === 'reading-on') {
      this.#phase = 'over'
      this.#settle('client-gone', fault)
    } else if (error) this.#sendFailure(error, fault)
    else this.#endWith('ended')
  }

  #sendFailure(error: Error, fault: Error | undefined): void {
    this.#phase = 'over'
    this.#outcome = 'failed'
    this.#output.close()
    try {
      const event = this.#stream.isBetweenBlocks ? this.#options.errorEvent?.(error) : undefined
      if (event === undefined) this.#downstream.break(error)
      else this.#downstream.end(serializeEvent(event))
      if (fault) this.#settle('failed', fault)
    } catch (thrown) {
      this.#downstream.break(error)
      this.#settle('failed', asError(thrown))
    }
  }

  #endWith(outcome: RelaySummary['outcome']): void {
    this.#phase = 'over'
    this.#outcome = outcome
    this.#output.close()
    this.#downstream.end()
  }

  /** @returns Whether the client has room for more. */
  #write(bytes: Buffer | string): boolean {
    if (this.#phase !== 'open') return true
    return this.#output.write(bytes)
  }

  /** The event with the cursor as its id; undefined for a block without data, whose id the client cannot use. */
  #withCursor(event: SseEvent): SseEvent | undefined {
    return event.data === undefined ? undefined : { ...event, id: this.#stream.cursor }
  }

  #listenToSignal(): void {
    const signal = this.#signal
    if (!signal) return
    if (signal.aborted) this.#onAbort()
    else this.#ignoreSignal = onAbort(signal, this.#onAbort)
  }

  readonly #onAbort = () => {
    if (this.#phase === 'over') return
    const { reason } = this.#signal ?? {}
    const error = new DOMException('The operation was aborted', { name: 'AbortError', cause: reason })
    this.#stream.stop(error)
    this.#stage?.destroy()
    this.#error = error
    if (this.#phase === 'head') this.#failHead(error, undefined)
    else this.#finish()
  }

  /** Ends the relay. Further calls have no effect: the promise keeps its first value. */
  #settle(outcome: RelaySummary['outcome'], fault?: Error): void {
    this.#phase = 'over'
    // Closes an adopted response even if the stream was not started.
    this.#stream.stop()
    this.#headDeadline?.clear()
    this.#output.close()
    this.#options.drain?.delete(this)
    this.#ignoreSignal()
    if (fault) this.#reject(fault)
    const { lastEventId, cursor, stats } = this.#stream
    this.#resolve({ outcome, error: this.#error, lastEventId, cursor, stats })
  }
}

/** A tracker for a stream that starts at a cursor instead of a last event ID. */
function trackerFrom(cursor: string | undefined): EventTracker {
  const tracker = new EventTracker()
  tracker.advance({}, cursor)
  return tracker
}

/** The error, if a function of the caller has thrown it; undefined for a failure of the upstream and for an abort. */
function faultOf(error: Error): Error | undefined {
  return error instanceof SseError || error.name === 'AbortError' ? undefined : error
}

/** Whether the same request may succeed later. */
function isTransient(error: Error): boolean {
  if (!(error instanceof SseError)) return true
  return error.code === 'ERR_SSE_RETRIES_EXHAUSTED' || isRetryable(error, { passedOn: false, once: false })
}
