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
  text,
  type ValuesOf,
  withDefault,
} from '../options.ts'
import { EventTracker } from '../resume/tracker.ts'
import type { Upstream } from '../upstream/shapes.ts'
import type { SseEvent } from '../wire/event.ts'

/** What `shouldRetry` is told besides the error. */
export interface RetryContext {
  /** Attempts of this outage that are over, this one included; 0 after a drop that followed progress. */
  readonly attempts: number
  /** Whether the stream has passed on an event yet. */
  readonly passedOn: boolean
  /** The last event ID; `''` when there is none. */
  readonly lastEventId: string
  /** Where the next attempt would resume; undefined when unknown. */
  readonly cursor: string | undefined
  /** What would happen without `shouldRetry`. */
  readonly retryable: boolean
}

export const reconnectOptions = {
  /**
   * First delay of an outage, doubled for each further one; the upstream's `retry:` replaces it. From 1. Default 1000.
   */
  baseDelay: withDefault(milliseconds(1), 1000, 'first delay of an outage, doubled for each further one'),
  /** The longest delay, unless the upstream asks for a longer one. From 1. Default 30000. */
  maxDelay: withDefault(
    milliseconds(1),
    30_000,
    'the longest delay, unless the upstream asks for a longer one',
  ),
  /** The least that the upstream's `retry:` can set; not above `maxDelay`. From 1. Default 100, or a lower `maxDelay`. */
  minDelay: withDefault(milliseconds(1), 100, "the least that the upstream's retry: can set"),
  /**
   * How many retries without progress are made before the stream fails with `ERR_SSE_RETRIES_EXHAUSTED`. The stream's very
   * first attempt is no retry, an attempt after a drop is one: `maxRetries` of 0 makes none. Progress starts the count anew.
   * `Infinity` never gives up. Default 10.
   */
  maxRetries: withDefault(
    count(0, Number.POSITIVE_INFINITY),
    10,
    'retries without progress before giving up',
  ),
  /**
   * The random part of each delay, from 0 to 1: up to this share is taken off, or added where the upstream has asked for
   * the delay. Default 0.1.
   */
  jitter: withDefault(number(0, 1, 'SHARE'), 0.1, 'random share of each delay'),
  /** The most that the upstream's `retry:` and Retry-After can ask for. Default 300000. */
  maxRetryAfter: withDefault(milliseconds(), 300_000, 'the most that retry: and Retry-After can ask for'),
  /** A connection that lived this long is progress, even without an event. Default 10000. */
  stableAfter: withDefault(
    milliseconds(0, Number.POSITIVE_INFINITY),
    10_000,
    'a connection that lived this long is progress',
  ),
  /**
   * Whether to try again after a failed attempt or a drop, in place of the table's answer. It cannot go beyond
   * `maxRetries` nor against `resume`. What it throws, the stream fails with.
   */
  shouldRetry: optional(callback<(error: Error, context: RetryContext) => boolean | Promise<boolean>>()),
}

/** When and how often a lost connection is opened anew. All times in milliseconds. */
export interface ReconnectOptions extends OptionsOf<typeof reconnectOptions> {}

/** {@link ReconnectOptions}, checked, with the defaults filled in. */
export interface CheckedReconnectOptions extends ValuesOf<typeof reconnectOptions> {}

const reconnectKind: Kind<CheckedReconnectOptions, ReconnectOptions> = {
  check(given, name) {
    const checked = checkOptions(reconnectOptions, given, name)
    const { minDelay, maxDelay } = checked
    if (minDelay <= maxDelay) return checked
    if (given.minDelay !== undefined) {
      throw new RangeError(`${name}.minDelay must not be above maxDelay (${maxDelay}), got ${minDelay}`)
    }
    return { ...checked, minDelay: maxDelay }
  },
}

/**
 * When a stream goes on after its connection has ended or dropped: `'always'`, only `'with-cursor'`, only
 * `'before-first-event'`, or `'never'`.
 */
export type ResumeMode = 'always' | 'with-cursor' | 'before-first-event' | 'never'

const logLevels = ['debug', 'info', 'warn', 'error'] as const

export const sourceOptions = {
  /** When and how often to reconnect. */
  reconnect: withDefault(reconnectKind, {}),
  /** Where to start: the last event ID that the reader has. Not together with `tracker`. Default: none. */
  lastEventId: optional(text),
  /**
   * What was passed on before, for a stream that goes on from an earlier one, or is shared with a dedupe Transform. It
   * counts what was put in the stream's buffer as passed on: go on only from a stream that was read to its end, or failed.
   */
  tracker: optional(object<EventTracker>('an EventTracker', (value) => value instanceof EventTracker)),
  /** The place to resume from after an event, when it is not the last event ID; undefined leaves the last one. */
  cursor: optional(callback<(event: SseEvent) => string | undefined>()),
  /**
   * `'always'` reconnects as EventSource does, and emits `gap` when it cannot say where to resume.
   * `'with-cursor'` reconnects after the first event only when there is a cursor, `'before-first-event'` never after
   * it; a drop then fails with `ERR_SSE_NOT_RESUMABLE`, and a clean end, where no `isTerminal` contradicts, is the end.
   * `'never'` reads one connection to its end, without a retry, and in byte mode passes every byte on as it came.
   *
   * Default `'always'`; `'before-first-event'` for a factory whose `method` is not idempotent. Such a request is sent again
   * only when it is known not to have been processed: no connection came about, or the answer was 408, 425, 429 or 5xx
   * (RFC 9110, 9.2.2). What answers it is passed on as with `'never'`.
   */
  resume: optional(
    choice<ResumeMode>('always', 'with-cursor', 'before-first-event', 'never'),
    'when to go on after a drop, for GET',
    'always',
  ),
  /** Whether this event is the last: it is passed on and the stream ends. */
  isTerminal: optional(callback<(event: SseEvent) => boolean>()),
  /** A response that is open already; the factory is called from the first drop on. */
  initialResponse: optional(object<Upstream>('a Response, a node:http or undici response, or a byte stream')),
  /** Whether the stream yields {@link SseEvent}s; otherwise bytes. Default false. */
  objectMode: withDefault(flag, false),
  /**
   * As of any Readable: bytes, or events in object mode. What one chunk of the upstream brings is passed on whole.
   * Default: Node's.
   */
  highWaterMark: optional(count(0)),
  /**
   * In byte mode, as long as nothing asks what the events are, blocks are passed on unread; of the latest at most this many
   * bytes, and at least half as many, are kept, and read when the connection drops, to know repeats by (the last chunk is
   * kept, however large). It limits the tracker's window then. 0 reads every event. Default 65536.
   *
   * What asks is `isTerminal`, `cursor`, `tracker`, a `comment` listener, `comments: false`, `idleResetOn: 'events'`;
   * and after a reconnect the look-out for repeats.
   */
  windowBytes: withDefault(
    bytes(0),
    65_536,
    'bytes of recent events kept to detect repeats; 0: events are read one by one',
  ),
  /** Whether to drop repeated events. Default true. */
  dedupe: withDefault(flag, true),
  /** Whether comments of the upstream are passed on in byte mode. Default true. */
  comments: withDefault(flag, true, "pass the upstream's comments on"),
  /** The most time until an attempt's response has begun; 0 means no limit. Default 30000. */
  connectTimeout: withDefault(
    milliseconds(),
    30_000,
    "until the head of the upstream's response; 0: no limit",
  ),
  /** The most time that an open connection may be silent; 0 means no limit. Default 300000. */
  idleTimeout: withDefault(milliseconds(), 300_000, 'silence of an open upstream connection; 0: no limit'),
  /** What ends a silence: any byte, or only an event, so that comments do not hide a dead producer. Default `'bytes'`. */
  idleResetOn: withDefault(choice('bytes', 'events'), 'bytes', 'what ends a silence'),
  /**
   * The most bytes that one event may have on the wire; more fails with `ERR_SSE_EVENT_TOO_LARGE`. No more than Node's
   * longest string. Default 16 MiB.
   */
  maxEventSize: withDefault(bytes(1), 16 * 1024 * 1024, 'the most bytes of one event'),
  /** What logs, diagnostics and the label of metrics call this stream. Default: none. */
  name: optional(text),
  /** Gets a line for each drop, retry, recovery and failure; a pino logger fits. Default: none. */
  logger: optional(
    object<Logger>('an object with debug, info, warn and error', (logger) =>
      logLevels.every((level) => typeof logger[level] === 'function'),
    ),
  ),
  /** Destroys the stream with an `AbortError` when aborted. */
  signal: optional(object<AbortSignal>('an AbortSignal', (value) => value instanceof AbortSignal)),
}

/** Options of a source. All times in milliseconds. */
export interface SourceOptions extends OptionsOf<typeof sourceOptions> {}

/** {@link SourceOptions}, checked, with the defaults filled in. */
export interface CheckedOptions extends Omit<ValuesOf<typeof sourceOptions>, 'lastEventId' | 'tracker'> {
  readonly tracker: EventTracker
  /** 0 also where something asks what each event is. */
  readonly windowBytes: number
}

/** @throws `TypeError` or `RangeError` that names the option and what it got. */
export function checkSourceOptions(options: SourceOptions): CheckedOptions {
  return completeOptions(checkOptions(sourceOptions, options, '', { reconnect: reconnectOptions }))
}

/** Options whose values have been checked one by one: `objectMode` and `tracker` are those of a source only. */
type GivenOptions = Omit<ValuesOf<typeof sourceOptions>, 'objectMode' | 'tracker'> &
  Pick<SourceOptions, 'objectMode' | 'tracker'>

/**
 * Adds what follows from several options.
 *
 * @throws `TypeError` for options that contradict each other, `RangeError` for a `lastEventId` that no event can have.
 */
export function completeOptions({
  lastEventId,
  tracker,
  objectMode = false,
  ...checked
}: GivenOptions): CheckedOptions {
  if (tracker !== undefined && lastEventId !== undefined) {
    throw new TypeError('lastEventId cannot be given together with tracker, which has its own')
  }
  return {
    ...checked,
    objectMode,
    tracker: tracker ?? new EventTracker({ lastEventId }),
    windowBytes: asksForEvents({ ...checked, objectMode, tracker }) ? 0 : checked.windowBytes,
  }
}

function asksForEvents({
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
