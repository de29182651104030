import { EventEmitter } from 'node:events'
import { PassThrough, Readable, type Writable } from 'node:stream'
import type { Messages, StreamStats } from '../diagnostics.ts'
import { asError, callReport, SseError, shown } from '../errors.ts'
import { Deadline } from '../http/deadline.ts'
import { lastEventIdFrom, type RequestWithLastEventId } from '../http/fields.ts'
import { completeOptions } from '../reconnect/options.ts'
import { ReconnectingStream } from '../reconnect/reconnecting-stream.ts'
import type { Announced, Sink } from '../reconnect/sink.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import { type SseEvent, serializeComment, serializeEvent } from '../wire/event.ts'
import { hasDisconnected, onDisconnect } from './client.ts'
import { type DownstreamResponse, openHead, refuse, streamHeaders } from './head.ts'
import {
  type CheckedRelayOptions,
  checkRelayOptions,
  type RelayOptions,
  type RelayResponseOptions,
  relayResponseOptions,
} from './options.ts'

/**
 * A response that is full gets this many bytes more before the upstream is stopped: as a rule it is empty again within
 * the same turn, and stopping and starting for each chunk costs more than all else.
 */
const mostBehind = 65_536

/** How a relay came to its end. */
export interface RelaySummary {
  /**
   * `'ended'`: the stream came to its end; `'client-gone'`: the client disconnected before; `'refused'`: the client got a
   * status other than 200; `'failed'`: the stream failed after its head was out.
   */
  readonly outcome: 'ended' | 'client-gone' | 'refused' | 'failed'
  /** What the client was refused with, or the stream failed with. */
  readonly error: Error | undefined
  /** The last event ID of what was passed on; `''` when there is none. */
  readonly lastEventId: string
  /** Where the stream could be resumed; undefined when unknown. */
  readonly cursor: string | undefined
  readonly stats: StreamStats
}

/**
 * Answers a request with an event stream that outlives its upstream's connections.
 *
 * It writes the head (`content-type`, `cache-control`, `x-accel-buffering`, besides what was set before), the events,
 * and heartbeats in between; it closes the upstream when the client disconnects, and lets the client see every failure.
 *
 * @param req - A request of node:http, node:https or node:http2, or a framework's around it; its `Last-Event-ID` is
 * where the stream starts, unless `lastEventId` says otherwise.
 * @param res - The response to that request. Nobody else may write to it.
 * @returns How the relay ended; it does not reject for what a client or an upstream did.
 * @throws `TypeError` or `RangeError` that names a wrong option, and what a function of the caller's throws; as long as
 * the head is not out, the response is then left as it was, for the caller's own error handling.
 */
export async function relaySse(
  req: RequestWithLastEventId,
  res: DownstreamResponse,
  factory: UpstreamFactory,
  options: RelayOptions = {},
): Promise<RelaySummary> {
  const relay = new Relay(res, req, factory, checkRelayOptions(options))
  // What a client does wrong is followed by a close, and the close is what counts.
  if (req instanceof EventEmitter) req.on('error', () => {})
  if (relay.rules.head === 'eager' || res.headersSent) openHead(res)
  else relay.awaitHead(res)
  return relay.run(req)
}

/**
 * The same for servers that speak the fetch API: a 200 at once, as with `head: 'eager'`, whose body is the stream. When
 * its consumer cancels the body, or the request's signal is aborted, the client has disconnected.
 *
 * @param onEnd - Called once with the summary, or with what a function of the caller's threw.
 * @throws `TypeError` or `RangeError` that names a wrong option.
 */
export function relayResponse(
  request: Request,
  factory: UpstreamFactory,
  options: RelayResponseOptions = {},
  onEnd: (error: unknown, summary?: RelaySummary) => void = () => {},
): Response {
  const body = new PassThrough()
  const relay = new Relay(body, request, factory, checkRelayOptions(options, relayResponseOptions))
  const response = new Response(Readable.toWeb(body), { headers: streamHeaders })
  const leave = () => body.destroy()
  request.signal.addEventListener('abort', leave, { once: true })
  body.once('close', () => request.signal.removeEventListener('abort', leave))
  if (request.signal.aborted) leave()
  const report = (error: unknown, summary?: RelaySummary) => callReport(() => onEnd(error, summary))
  relay.run().then((summary) => report(undefined, summary), report)
  return response
}

/** The engine onto one response: a sink that writes to a client, and what is said to the client in between. */
class Relay implements Sink {
  readonly rules: CheckedRelayOptions
  readonly #response: Writable
  readonly #stream: ReconnectingStream
  readonly #signal: AbortSignal | undefined
  /** The response whose head waits for the upstream's answer, and until when a retry may delay it. */
  #waiting: { readonly res: DownstreamResponse; readonly until: number } | undefined
  #outcome: RelaySummary['outcome'] | undefined
  #error: Error | undefined
  /** The client disconnected, and the stream is read to its end all the same. */
  #isDraining = false
  /** Bytes written since the response was full. */
  #behind = 0
  #heartbeat: Deadline | undefined
  /** The client knows that the upstream is away. */
  #saidReconnecting = false
  /** Stops listening to the client's connection. */
  #release = () => {}
  #resolve: (summary: RelaySummary) => void = () => {}
  #reject: (fault: Error) => void = () => {}

  constructor(
    response: Writable,
    request: RequestWithLastEventId,
    factory: UpstreamFactory,
    { relay, source }: ReturnType<typeof checkRelayOptions>,
  ) {
    if (typeof factory !== 'function')
      throw new TypeError(`factory must be a function, got ${shown(factory)}`)
    this.rules = relay
    this.#response = response
    this.#signal = source.signal
    const lastEventId = source.lastEventId ?? lastEventIdFrom(request)
    this.#stream = new ReconnectingStream(factory, completeOptions({ ...source, lastEventId }), this)
  }

  /** The head is to wait until the upstream has answered, or a failure has to be the answer. */
  awaitHead(res: DownstreamResponse): void {
    this.#waiting = { res, until: performance.now() + this.rules.headTimeout }
  }

  /**
   * Relays until one of both ends is through.
   *
   * @param request - Has the client's connection, where the response does not say that it closes.
   */
  run(request: object = {}): Promise<RelaySummary> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      const response = this.#response
      // An EPIPE is followed by a close, and the close is what counts.
      response.on('error', () => {})
      response.on('drain', () => {
        this.#behind = 0
        this.#stream.resume()
      })
      response.once('finish', () => this.#settle())
      response.once('close', () => this.onClientGone())
      if (response.destroyed || response.writableEnded || hasDisconnected(request)) {
        this.#settleAs('client-gone')
        return
      }
      this.#listenToSignal()
      this.#release = onDisconnect(request, () => this.onClientGone())
      if (!this.#waiting) this.#startStream()
      this.#stream.start()
    })
  }

  /** The client's connection is closed, whether the client had everything or not. */
  onClientGone(): void {
    if (this.#outcome !== undefined) {
      this.#settle()
      return
    }
    if (this.#isDraining) return
    this.#heartbeat?.clear()
    if (this.rules.onClientGone === 'drain') {
      this.#isDraining = true
      this.#stream.resume()
      return
    }
    this.#outcome = 'client-gone'
    this.#stream.stop()
    this.#settle()
  }

  blocks(bytes: Buffer): boolean {
    return this.#write(bytes)
  }

  event(event: SseEvent): boolean {
    return this.#write(serializeEvent(event))
  }

  announced<K extends Announced>(kind: K, message: Messages[K]): void {
    if (kind === 'open') this.#onOpen()
    else if (kind === 'retry' && 'delay' in message) this.#onRetry(message.delay, message.error)
    else if (kind === 'gap') this.#sayStatus('gap')
  }

  end(): void {
    if (this.#isDraining) {
      this.#settleAs('client-gone')
      return
    }
    if (this.#waiting) {
      const { res } = this.#waiting
      this.#outcome = 'refused'
      res.statusCode = 204
      res.end()
      return
    }
    this.#outcome = 'ended'
    this.#response.end()
  }

  fail(error: Error): void {
    this.#error = error
    // Neither the upstream's doing nor an abort: a function of the caller's has thrown.
    const fault = error instanceof SseError || error.name === 'AbortError' ? undefined : error
    if (this.#isDraining) {
      this.#settleAs('client-gone', fault)
      return
    }
    if (this.#waiting) {
      const { res } = this.#waiting
      this.#outcome = 'refused'
      if (fault) this.#settle(fault)
      else refuse(res, error)
      return
    }
    this.#outcome = 'failed'
    this.#sayFailure(error, fault)
  }

  #onOpen(): void {
    if (this.#waiting) {
      openHead(this.#waiting.res)
      this.#waiting = undefined
      this.#startStream()
    }
    if (this.#saidReconnecting) this.#sayStatus('live')
    this.#saidReconnecting = false
  }

  #onRetry(delay: number, error: Error): void {
    if (this.#waiting && performance.now() + delay > this.#waiting.until) {
      this.#stream.stop(error)
      this.fail(error)
      return
    }
    if (!this.#saidReconnecting) this.#sayStatus('reconnecting')
    this.#saidReconnecting = this.#waiting === undefined
  }

  /** The head is out: from here on the client learns of life, and of failure, within the stream. */
  #startStream(): void {
    const { heartbeat, retry } = this.rules
    this.#heartbeat = new Deadline(heartbeat, () => this.#beat(), false)
    if (retry !== undefined) this.#write(`retry: ${retry}\n\n`)
  }

  /** @returns Whether the client has room for more. */
  #write(bytes: Buffer | string): boolean {
    if (this.#isDraining || this.#outcome !== undefined) return true
    const response = this.#response
    if (response.write(bytes)) this.#behind = 0
    else this.#behind += bytes.length
    // What compression middleware adds.
    if ('flush' in response && typeof response.flush === 'function') response.flush()
    this.#heartbeat?.refresh()
    return this.#behind < mostBehind
  }

  #beat(): void {
    // A client that does not read is not helped by more to read, and nothing may stand within a block.
    if (this.#behind > 0 || !this.#stream.isBetweenBlocks) this.#heartbeat?.refresh()
    else this.#write(serializeComment(''))
  }

  #sayStatus(status: 'reconnecting' | 'live' | 'gap'): void {
    if (!this.rules.statusEvents || this.#waiting) return
    this.#write(serializeEvent({ event: 'relay-status', data: JSON.stringify({ status }) }))
  }

  #sayFailure(error: Error, fault: Error | undefined): void {
    try {
      const event = this.#stream.isBetweenBlocks ? this.rules.errorEvent?.(error) : undefined
      if (event === undefined) this.#break(error)
      else this.#response.end(serializeEvent(event))
      if (fault) this.#settle(fault)
    } catch (thrown) {
      this.#break(error)
      this.#settle(asError(thrown))
    }
  }

  /** A turn later: what was written in this turn waits in the socket, which would discard it. */
  #break(error: Error): void {
    setImmediate(() => this.#response.destroy(error))
  }

  #listenToSignal(): void {
    const signal = this.#signal
    if (!signal) return
    const onAbort = () => {
      if (this.#outcome !== undefined) return
      const error = new DOMException('The operation was aborted', {
        name: 'AbortError',
        cause: signal.reason,
      })
      this.#stream.stop(error)
      this.fail(error)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#response.once('close', () => signal.removeEventListener('abort', onAbort))
    if (signal.aborted) onAbort()
  }

  #settleAs(outcome: RelaySummary['outcome'], fault?: Error): void {
    this.#outcome = outcome
    this.#settle(fault)
  }

  /** The relay is over. Further calls do nothing: the promise keeps its first value. */
  #settle(fault?: Error): void {
    this.#heartbeat?.clear()
    this.#release()
    if (fault) this.#reject(fault)
    const { lastEventId, cursor, stats } = this.#stream
    const outcome = this.#outcome ?? 'client-gone'
    this.#resolve({ outcome, error: this.#error, lastEventId, cursor, stats })
  }
}
