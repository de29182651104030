import type { Logger } from '../diagnostics.ts'
import {
  bytes,
  callback,
  checkOptions,
  choice,
  count,
  flag,
  type Kind,
  milliseconds,
  number,
  type OptionsOf,
  object,
  optional,
  sharing,
  text,
  type ValuesOf,
  withDefault,
} from '../options.ts'
import { EventTracker, eventIdentity, windowSizeKind } from '../resume/tracker.ts'
import type { Upstream } from '../upstream/shapes.ts'
import type { SseEvent } from '../wire/event.ts'

/**
 * The second argument of `shouldRetry`.
 *
 * @example
 * ```ts
 * import type { ReconnectOptions, RetryContext } from 'resilient-sse'
 *
 * const shouldRetry = (_: Error, { retryable, attempts }: RetryContext) => retryable && attempts < 3
 * const reconnect: ReconnectOptions = { shouldRetry }
 * ```
 */
export interface RetryContext {
  /** Finished attempts of this outage, including this one; 0 after a drop that followed progress. */
  readonly attempts: number
  /** Whether the stream has passed on an event. */
  readonly passedOn: boolean
  /** The last event ID; `''` without one. */
  readonly lastEventId: string
  /** Where the next attempt would resume; undefined when unknown. */
  readonly cursor: string | undefined
  /** Whether the library would retry without `shouldRetry`. */
  readonly retryable: boolean
}

export const reconnectOptions = {
  /**
   * The first delay of an outage, in milliseconds from 1; each further delay is twice as long. The upstream's `retry:`
   * replaces this value. Default 1000.
   */
  baseDelay: withDefault(milliseconds(1), 1000, 'first delay of an outage, doubled for each further one'),
  /** The longest delay, in milliseconds from 1; only the upstream's `retry:` or Retry-After can exceed it. Default 30000. */
  maxDelay: withDefault(
    milliseconds(1),
    30_000,
    "the longest delay, unless the upstream's retry: or Retry-After is longer",
  ),
  /**
   * The shortest delay that the upstream's `retry:` can set, in milliseconds from 1, not above `maxDelay`. Default 100, or
   * `maxDelay` where that is shorter.
   */
  minDelay: withDefault(milliseconds(1), 100, "the shortest delay that the upstream's retry: can set"),
  /**
   * How many retries without progress are made before the stream fails with `ERR_SSE_RETRIES_EXHAUSTED`. The stream's
   * first attempt does not count; every attempt after a drop does. Progress resets the count. 0 disables retries;
   * `Infinity` retries without a limit. Default 10.
   */
  maxRetries: withDefault(
    count(0, Number.POSITIVE_INFINITY),
    10,
    'retries without progress before giving up',
  ),
  /**
   * The largest random share of each delay, from 0 to 1. The random part is subtracted from a delay of the library, and added
   * to a delay that the upstream has set. Default 0.1.
   */
  jitter: withDefault(number(0, 1, 'SHARE'), 0.1, 'random share of each delay'),
  /** The longest delay that the upstream's `retry:` and Retry-After can set, in milliseconds. Default 300000. */
  maxRetryAfter: withDefault(
    milliseconds(),
    300_000,
    'the longest delay that retry: and Retry-After can set',
  ),
  /** A connection that was open for this many milliseconds is progress, even without an event. Default 10000. */
  stableAfter: withDefault(
    milliseconds(0, Number.POSITIVE_INFINITY),
    10_000,
    'a connection that was open this long is progress',
  ),
  /**
   * Whether to retry after a failed attempt or a drop. The result overrules the library's own decision, but neither
   * `maxRetries` nor `resume`. An error thrown here fails the stream. Default: the decision in `context.retryable`.
   */
  shouldRetry: optional(callback<(error: Error, context: RetryContext) => boolean | Promise<boolean>>()),
}

/**
 * When and how often the stream reconnects. All times in milliseconds.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, httpUpstream, type ReconnectOptions } from 'resilient-sse'
 *
 * const reconnect: ReconnectOptions = { baseDelay: 500, maxDelay: 10_000, maxRetries: Number.POSITIVE_INFINITY }
 * const source = createResilientSseSource(httpUpstream('http://localhost:3000/events'), { reconnect })
 * ```
 */
export interface ReconnectOptions extends OptionsOf<typeof reconnectOptions> {}

/** {@link ReconnectOptions}, checked, with the defaults filled in. */
export interface CheckedReconnectOptions extends ValuesOf<typeof reconnectOptions> {}

const shareReconnect = sharing<CheckedReconnectOptions>()

const reconnectKind: Kind<CheckedReconnectOptions, ReconnectOptions> = {
  check(given, name) {
    const checked = checkOptions(reconnectOptions, given, name)
    const { minDelay, maxDelay } = checked
    if (minDelay <= maxDelay) return shareReconnect(checked)
    if (given.minDelay !== undefined) {
      throw new RangeError(`${name}.minDelay must not be above maxDelay (${maxDelay}), got ${minDelay}`)
    }
    return shareReconnect({ ...checked, minDelay: maxDelay })
  },
}

/**
 * When a stream reconnects after its connection has ended or dropped; see {@link SourceOptions.resume}.
 *
 * @example
 * ```ts
 * import type { RelayOptions, ResumeMode } from 'resilient-sse'
 *
 * const resume: ResumeMode = 'before-first-event'
 * const options: RelayOptions = { resume }
 * ```
 */
export type ResumeMode = 'always' | 'with-cursor' | 'before-first-event' | 'never'

const logLevels = ['debug', 'info', 'warn', 'error'] as const

export const sourceOptions = {
  /** When and how often to reconnect. */
  reconnect: withDefault(reconnectKind, {}),
  /**
   * The last event ID that the reader already has; the stream starts after that event. Excludes `tracker`. Default: the
   * stream starts where the upstream starts.
   */
  lastEventId: optional(text),
  /**
   * A tracker that is taken over from an earlier stream, or shared with a dedupe Transform. Events in the stream's buffer
   * count as passed on, so take over only from a stream that was read to its end, or that failed. Default: a new tracker.
   */
  tracker: optional(object<EventTracker>('an EventTracker', (value) => value instanceof EventTracker)),
  /**
   * Returns the cursor after an event, for upstreams that do not resume from the last event ID; undefined keeps the
   * previous cursor. Default: the cursor is the last event ID.
   */
  cursor: optional(callback<(event: SseEvent) => string | undefined>()),
  /**
   * When the stream reconnects:
   *
   * - `'always'`: as EventSource does (HTML, 9.2.3). Emits `gap` when the request cannot carry a cursor.
   * - `'with-cursor'`: before the first event, and after it only with a cursor.
   * - `'before-first-event'`: only before the first event.
   * - `'never'`: one connection is read to its end. In byte mode every byte is passed on unchanged.
   *
   * Where the stream must not reconnect, a drop fails it with `ERR_SSE_NOT_RESUMABLE` (with `'never'`: with the drop's own
   * error), and a clean end ends it. With `isTerminal`, see `endWithoutTerminal` for a clean end before the terminal event.
   *
   * Default `'always'`; `'before-first-event'` for a factory whose `method` is not idempotent (RFC 9110, 9.2.2). Such a
   * request is retried only when the upstream cannot have processed it: no connection was made, or the status was 408,
   * 425, 429 or 5xx. Its response is passed on as with `'never'`.
   */
  resume: optional(
    choice<ResumeMode>('always', 'with-cursor', 'before-first-event', 'never'),
    'when to reconnect after a drop, for GET',
    'always',
  ),
  /** Whether this event is the stream's last: the stream passes it on and ends. Default: no event is. */
  isTerminal: optional(callback<(event: SseEvent) => boolean>()),
  /**
   * With `isTerminal`: what a clean end before the terminal event means where `resume` does not allow a reconnect. `'drop'`
   * fails the stream, `'end'` ends it. Default `'drop'`.
   */
  endWithoutTerminal: withDefault(choice('drop', 'end'), 'drop'),
  /** An open response to read first; the factory is called after its drop. Default: the factory is called at the start. */
  initialResponse: optional(object<Upstream>('a Response, a node:http or undici response, or a byte stream')),
  /** True: the stream yields {@link SseEvent}s; false: bytes. Default false. */
  objectMode: withDefault(flag, false),
  /**
   * The Readable's `highWaterMark`, in bytes, or in events in object mode. One chunk of the upstream is passed on whole,
   * even above this mark. Default: Node's.
   */
  highWaterMark: optional(count(0)),
  /**
   * Bytes of recent events kept to detect repeats after a reconnect, in byte mode. Default 65536; 0 parses every event.
   *
   * In byte mode events are passed on unparsed. The latest of them, between half of this size and this size (the last
   * chunk always, whatever its size), are kept and parsed at the reconnect, so this size limits the tracker's window.
   *
   * Every event is parsed, and no bytes are kept, with `isTerminal`, `cursor`, `tracker`, `comments: false` or
   * `idleResetOn: 'events'`. Events are also parsed while there is a `comment` listener, and after a reconnect until
   * repeats can no longer come.
   */
  windowBytes: withDefault(
    bytes(0),
    65_536,
    'bytes of recent events kept to detect repeats; 0: every event is parsed',
  ),
  /** Whether repeated events are dropped. Default true. */
  dedupe: withDefault(flag, true, 'drop repeated events'),
  /**
   * When two events are the same: `'id+data'`, equal id, type and data; `'id'`, equal ids, for upstreams that render an event
   * anew each time they send it; or a function that returns a key (undefined: the event is never a repeat). Excludes
   * `tracker`, which has its own identity. Default `'id+data'`.
   */
  identity: optional(eventIdentity, 'when two events are the same', 'id+data'),
  /**
   * The number of latest events that repeats are detected among; a whole number from 1 to 8388608. Each takes 8 bytes, and up
   * to 90 more while repeats are looked for after a reconnect. In byte mode `windowBytes` is a limit too. Excludes `tracker`,
   * which has its own window. Default 1000.
   */
  windowSize: optional(windowSizeKind, 'the latest events that repeats are detected among', 1000),
  /** Whether the upstream's comments are passed on in byte mode. Default true. */
  comments: withDefault(flag, true, "pass the upstream's comments on"),
  /** Milliseconds within which the upstream's response must begin; 0: no limit. Default 30000. */
  connectTimeout: withDefault(
    milliseconds(),
    30_000,
    "until the head of the upstream's response; 0: no limit",
  ),
  /** Milliseconds that an open connection may be silent; 0: no limit. Default 300000. */
  idleTimeout: withDefault(milliseconds(), 300_000, 'silence of an open upstream connection; 0: no limit'),
  /**
   * What resets `idleTimeout`: `'bytes'`, any byte; `'events'`, only a fresh event, so that comments do not hide a dead
   * producer. Default `'bytes'`.
   */
  idleResetOn: withDefault(choice('bytes', 'events'), 'bytes', 'what resets the idle timeout'),
  /**
   * The most bytes of one event on the wire, from 1 to the length of Node's longest string. A larger event fails the stream
   * with `ERR_SSE_EVENT_TOO_LARGE`. Default 16777216 (16 MiB).
   */
  maxEventSize: withDefault(bytes(1), 16 * 1024 * 1024, 'the most bytes of one event'),
  /**
   * Whether this package may handle the framing of HTTP/1.1 bodies, the idle connections of its own agents, and the short answers that
   * a proxy passes on, in place of node:http, which costs less. At the first use it tries out whether the bytes are the same, and it
   * leaves all of it to node:http wherever anything is unusual. A PerformanceObserver of `http` does not see those short answers.
   * Default true.
   */
  fastPath: withDefault(
    flag,
    true,
    'handle HTTP/1.1 framing, idle connections and short answers in place of node:http',
  ),
  /** The stream's name in logs, diagnostics and the metrics' label `name`. Default: the stream has no name. */
  name: optional(text),
  /** Receives a line for each retry, reconnect, gap and failure; a pino logger fits. Default: no logging. */
  logger: optional(
    object<Logger>('an object with debug, info, warn and error', (logger) =>
      logLevels.every((level) => typeof logger[level] === 'function'),
    ),
  ),
  /** Aborting this signal destroys the stream with an `AbortError`. Default: no signal. */
  signal: optional(object<AbortSignal>('an AbortSignal', (value) => value instanceof AbortSignal)),
}

/**
 * Options of a source. All times in milliseconds.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, httpUpstream, type SourceOptions } from 'resilient-sse'
 *
 * const options: SourceOptions = { idleTimeout: 60_000, isTerminal: ({ data }) => data === '[DONE]' }
 * const source = createResilientSseSource(httpUpstream('http://localhost:3000/events'), options)
 * ```
 */
export interface SourceOptions extends OptionsOf<typeof sourceOptions> {}

/** {@link SourceOptions}, checked, with the defaults filled in. */
export interface CheckedOptions
  extends Omit<ValuesOf<typeof sourceOptions>, 'lastEventId' | 'tracker' | 'identity' | 'windowSize'> {
  readonly tracker: EventTracker
  /** 0 also where another option requires every event to be parsed. */
  readonly windowBytes: number
}

/** The options that a stream asks for all its life. */
export type LastingOptions = Omit<
  CheckedOptions,
  'tracker' | 'cursor' | 'resume' | 'initialResponse' | 'highWaterMark' | 'windowBytes' | 'signal'
>

const shareLasting = sharing<LastingOptions>()

/** @returns One object for all streams with these options: it holds nothing that belongs to one stream. */
export function lastingOptions(options: CheckedOptions): LastingOptions {
  const { reconnect, isTerminal, endWithoutTerminal, objectMode, dedupe, comments } = options
  const { connectTimeout, idleTimeout, idleResetOn, maxEventSize, fastPath, name, logger } = options
  return shareLasting({
    reconnect,
    isTerminal,
    endWithoutTerminal,
    objectMode,
    dedupe,
    comments,
    connectTimeout,
    idleTimeout,
    idleResetOn,
    maxEventSize,
    fastPath,
    name,
    logger,
  })
}

/** @throws `TypeError` or `RangeError` that names the option and the value. */
export function checkSourceOptions(options: SourceOptions): CheckedOptions {
  return completeOptions(checkOptions(sourceOptions, options, '', { reconnect: reconnectOptions }))
}

/** Options whose values were checked one by one; only a source has `objectMode` and `tracker`. */
type GivenOptions = Omit<ValuesOf<typeof sourceOptions>, 'objectMode' | 'tracker'> &
  Pick<SourceOptions, 'objectMode' | 'tracker'>

/**
 * Checks options against each other, and adds the values that depend on several of them.
 *
 * @throws `TypeError` for options that contradict each other, `RangeError` for a `lastEventId` that no event can have.
 */
export function completeOptions({
  lastEventId,
  tracker,
  identity,
  windowSize,
  objectMode = false,
  ...checked
}: GivenOptions): CheckedOptions {
  const ofTracker = { lastEventId, identity, windowSize }
  for (const [name, value] of Object.entries(ofTracker)) {
    if (tracker === undefined || value === undefined) continue
    throw new TypeError(`${name} cannot be given together with tracker, which has its own ${name}`)
  }
  return {
    ...checked,
    objectMode,
    tracker: tracker ?? new EventTracker(ofTracker),
    windowBytes: readsEveryEvent({ ...checked, objectMode, tracker }) ? 0 : checked.windowBytes,
  }
}

function readsEveryEvent({
  objectMode,
  isTerminal,
  cursor,
  tracker,
  comments,
  idleResetOn,
}: SourceOptions): boolean {
  return (
    objectMode === true ||
    isTerminal !== undefined ||
    cursor !== undefined ||
    tracker !== undefined ||
    comments === false ||
    idleResetOn === 'events'
  )
}
