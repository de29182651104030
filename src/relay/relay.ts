import { EventEmitter } from 'node:events'
import { PassThrough, Readable, type Writable } from 'node:stream'
import { asError, callReport, SseError } from '../errors.ts'
import { Deadline, longestTimer } from '../http/deadline.ts'
import { lastEventIdFrom, type RequestWithLastEventId } from '../http/fields.ts'
import { expectOptional, flag, number, oneOf, type SourceOptions } from '../reconnect/options.ts'
import { createResilientSseSource, type ResilientSseSource, type SourceStats } from '../source.ts'
import type { UpstreamFactory } from '../upstream/shapes.ts'
import { type SseEvent, serializeComment, serializeEvent } from '../wire/event.ts'
import { onDeparture } from './client.ts'
import { type DownstreamResponse, openHead, refuse, streamHeaders } from './head.ts'

/**
 * A sink that is full gets this many bytes more before the upstream is stopped: as a rule it is empty again within the
 * same turn, and stopping and starting for each chunk costs more than all else.
 */
const mostBehind = 65_536

/** Options of {@link relayResponse}: those of a source, and what its client gets besides the events. */
export interface RelayResponseOptions extends Omit<SourceOptions, 'objectMode' | 'tracker'> {
  /** After this many milliseconds without a byte the client gets a comment; 0 sends none. Default 15000. */
  readonly heartbeat?: number | undefined
  /** The reconnection time that the client is told, in milliseconds. Default: none; the upstream's is never passed on. */
  readonly retry?: number | undefined
  /** What becomes of the upstream when the client has gone: it is closed at once, or read to its end. Default `'abort'`. */
  readonly onClientGone?: 'abort' | 'drain' | undefined
  /**
   * The last event for a client whose stream fails after its head is out; the response then ends. Without it, or when
   * it gives undefined, the connection is destroyed, so that the client can tell all the same.
   */
  readonly errorEvent?: ((error: Error) => SseEvent | undefined) | undefined
  /** Whether the client gets `relay-status` events, without ids: `reconnecting`, `live`, `gap`. Default false. */
  readonly statusEvents?: boolean | undefined
}

/** Options of {@link relaySse}. */
export interface RelayOptions extends RelayResponseOptions {
  /**
   * `'lazy'` answers when the upstream has answered, so that a first 401, 404 or 429 reaches the client; `'eager'`
   * answers at once. Default `'lazy'`.
   */
  readonly head?: 'lazy' | 'eager' | undefined
  /**
   * With `'lazy'`: a retry that is due later than this after the start is not waited for, and the failure is the
   * answer; 0 makes the first failure the answer. Milliseconds. Default 5000.
   */
  readonly headTimeout?: number | undefined
}

/** How a relay came to its end. */
export interface RelaySummary {
  /**
   * `'ended'`: the stream came to its end; `'client-gone'`: the client left before; `'refused'`: the client got a
   * status other than 200; `'failed'`: the stream failed after its head was out.
   */
  readonly outcome: 'ended' | 'client-gone' | 'refused' | 'failed'
  /** What it was refused with, or failed with. */
  readonly error: Error | undefined
  /** The last event ID of what was passed on. */
  readonly lastEventId: string
  readonly stats: SourceStats
}

/**
 * Answers a request with an event stream that outlives its upstream's connections.
 *
 * It writes the head (`content-type`, `cache-control`, `x-accel-buffering`, besides what was set before), the events,
 * and heartbeats in between; it closes the upstream when the client leaves, and lets the client see every failure.
 *
 * @param req - A request of node:http, node:https or node:http2, or a framework's around it; its `Last-Event-ID` is
 * where the stream starts, unless `lastEventId` says otherwise.
 * @param res - The response to that request. Nobody else may write to it.
 * @returns How it ended; whatever client and upstream did, it does not reject for it.
 * @throws `TypeError` or `RangeError` that names a wrong option, and what a function of the caller's throws; as long as
 * the head is not out, the response is then left as it was, for the caller's own error handling.
 */
export async function relaySse(
  req: RequestWithLastEventId,
  res: DownstreamResponse,
  factory: UpstreamFactory,
  options: RelayOptions = {},
): Promise<RelaySummary> {
  const headTimeout = number(options.headTimeout, 'headTimeout', 5000, 0, longestTimer)
  const eager = oneOf(options.head, 'head', ['lazy', 'eager']) === 'eager'
  const relay = new Relay(res, req, factory, options)
  // What a client does wrong is followed by a close, which is what counts.
  if (req instanceof EventEmitter) req.on('error', () => {})
  if (eager || res.headersSent) openHead(res)
  else answerWithin(relay, res, headTimeout)
  const release = onDeparture(req, () => relay.leave())
  try {
    return await relay.run()
  } finally {
    release()
  }
}

/**
 * The same for servers that speak the fetch API: a 200 at once, as with `head: 'eager'`, whose body is the stream. When
 * its consumer cancels the body, or the request's signal is aborted, the client has gone.
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
  const relay = new Relay(body, request, factory, options)
  const response = new Response(Readable.toWeb(body), { headers: streamHeaders })
  const leave = () => body.destroy()
  request.signal.addEventListener('abort', leave, { once: true })
  body.once('close', () => request.signal.removeEventListener('abort', leave))
  if (request.signal.aborted) leave()
  const report = (error: unknown, summary?: RelaySummary) => callReport(() => onEnd(error, summary))
  relay.run().then((summary) => report(undefined, summary), report)
  return response
}

/** Waits with the head until the upstream has answered, or a failure has to be the answer. */
function answerWithin(relay: Relay, res: DownstreamResponse, headTimeout: number): void {
  const deadline = performance.now() + headTimeout
  relay.beforeHead = (error) => {
    if (error) {
      refuse(res, error)
    } else {
      res.statusCode = 204
      res.end()
    }
  }
  relay.source.once('open', () => {
    relay.beforeHead = undefined
    openHead(res)
    relay.start()
  })
  relay.source.on('retry', ({ delay, error }) => {
    if (relay.beforeHead && performance.now() + delay > deadline) relay.source.destroy(error)
  })
}

interface RelayRules {
  readonly heartbeat: number
  readonly retry: number | undefined
  readonly onClientGone: 'abort' | 'drain'
  readonly errorEvent: RelayResponseOptions['errorEvent']
  readonly statusEvents: boolean
}

/** A source and the sink of one client: whatever becomes of either, the other one is not left behind. */
class Relay {
  readonly source: ResilientSseSource<Buffer>
  /** While the head is not out: answers with a failure, or, without one, that there is nothing. */
  beforeHead: ((error?: Error) => void) | undefined
  readonly #sink: Writable
  readonly #rules: RelayRules
  #heartbeat: Deadline | undefined
  /** How it ends, once that is known. */
  #outcome: RelaySummary['outcome'] | undefined
  #error: Error | undefined
  #settle: (fault?: Error) => void = () => {}
  #clientGone = false
  /** What was written since the sink had room. */
  #behind = 0

  constructor(
    sink: Writable,
    request: RequestWithLastEventId,
    factory: UpstreamFactory,
    options: RelayOptions,
  ) {
    const {
      head: _,
      headTimeout: __,
      heartbeat,
      retry,
      onClientGone,
      errorEvent,
      statusEvents,
      ...rest
    } = options
    expectOptional(errorEvent, 'function', 'errorEvent')
    this.#rules = {
      heartbeat: number(heartbeat, 'heartbeat', 15_000, 0, longestTimer),
      retry: retry === undefined ? undefined : Math.round(number(retry, 'retry', 0, 0, longestTimer)),
      onClientGone: oneOf<'abort' | 'drain'>(onClientGone, 'onClientGone', ['abort', 'drain']),
      statusEvents: flag(statusEvents, 'statusEvents', false),
      errorEvent,
    }
    this.#sink = sink
    this.source = createResilientSseSource(factory, {
      ...rest,
      lastEventId: rest.lastEventId ?? lastEventIdFrom(request),
    })
  }

  /** Relays until one of both ends is through. */
  run(): Promise<RelaySummary> {
    const { source } = this
    return new Promise((resolve, reject) => {
      this.#settle = (fault) => {
        this.#heartbeat?.clear()
        this.#settle = () => {}
        if (fault) reject(fault)
        else resolve(this.#summary())
      }
      const sink = this.#sink
      // An EPIPE is followed by a close, which is what counts.
      sink.on('error', () => {})
      sink.on('drain', () => {
        this.#behind = 0
        source.resume()
      })
      sink.once('finish', () => this.#settle())
      sink.once('close', () => this.leave())
      source.on('error', (error) => this.#onError(error))
      source.once('end', () => this.#onEnd())
      if (this.#clientGone || sink.destroyed || sink.writableEnded) {
        this.leave()
        return
      }
      source.on('data', (chunk) => this.#write(chunk))
      if (this.#rules.statusEvents) this.#tellStatus()
      if (!this.beforeHead) this.start()
    })
  }

  /** The head is out: from here on the client is told of life, and of failure, within the stream. */
  start(): void {
    const { heartbeat, retry } = this.#rules
    this.#heartbeat = new Deadline(heartbeat, () => this.#beat(), false)
    if (retry !== undefined) this.#write(`retry: ${retry}\n\n`)
  }

  /** The client's end is closed, whether it had everything or not. */
  leave(): void {
    if (this.#outcome !== undefined) {
      this.#settle()
      return
    }
    this.#clientGone = true
    this.#heartbeat?.clear()
    if (this.#rules.onClientGone === 'drain' && !this.source.readableEnded) {
      this.source.resume()
      return
    }
    this.source.destroy()
    this.#settle()
  }

  #summary(): RelaySummary {
    const { lastEventId, stats } = this.source
    return { outcome: this.#outcome ?? 'client-gone', error: this.#error, lastEventId, stats }
  }

  /** Each chunk is made of whole blocks, so anything may stand between two of them. */
  #write(chunk: Buffer | string): void {
    if (this.#clientGone || this.#outcome !== undefined) return
    const sink = this.#sink
    if (sink.write(chunk)) this.#behind = 0
    else {
      this.#behind += chunk.length
      if (this.#behind >= mostBehind) this.source.pause()
    }
    // What compression middleware adds.
    if ('flush' in sink && typeof sink.flush === 'function') sink.flush()
    this.#heartbeat?.refresh()
  }

  #beat(): void {
    // A client that does not read is not helped by more to read.
    if (this.#behind > 0) this.#heartbeat?.refresh()
    else this.#write(serializeComment(''))
  }

  #onEnd(): void {
    this.#outcome = this.beforeHead ? 'refused' : 'ended'
    if (this.#clientGone) {
      this.#outcome = 'client-gone'
      this.#settle()
    } else if (this.beforeHead) this.beforeHead()
    else this.#sink.end()
  }

  #onError(error: Error): void {
    this.#error = error
    // Not the upstream's doing, nor an abort: a function of the caller's has thrown.
    const fault = error instanceof SseError || error.name === 'AbortError' ? undefined : error
    if (this.#clientGone || (fault && this.beforeHead)) {
      this.#settle(fault)
      return
    }
    this.#outcome = this.beforeHead ? 'refused' : 'failed'
    if (this.beforeHead) this.beforeHead(error)
    else this.#tellFailure(error, fault)
  }

  #tellFailure(error: Error, fault: Error | undefined): void {
    try {
      const event = this.#rules.errorEvent?.(error)
      if (event === undefined) this.#sink.destroy(error)
      else this.#sink.end(serializeEvent(event))
      if (fault) this.#settle(fault)
    } catch (thrown) {
      this.#sink.destroy(error)
      this.#settle(asError(thrown))
    }
  }

  #tellStatus(): void {
    let away = false
    const tell = (status: string) => {
      if (!this.beforeHead)
        this.#write(serializeEvent({ event: 'relay-status', data: JSON.stringify({ status }) }))
    }
    this.source.on('retry', () => {
      if (!away) tell('reconnecting')
      away = true
    })
    this.source.on('open', () => {
      if (away) tell('live')
      away = false
    })
    this.source.on('gap', () => tell('gap'))
  }
}
