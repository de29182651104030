import { constants } from 'node:buffer'
import type { Logger } from '../diagnostics.ts'
import { shown } from '../errors.ts'
import { longestTimer } from '../http/deadline.ts'
import { EventTracker } from '../resume/tracker.ts'
import type { Upstream } from '../upstream/shapes.ts'
import type { SseEvent } from '../wire/event.ts'
import type { DelayRules } from './delay.ts'

/** When and how often a lost connection is opened anew. All times in milliseconds. */
export interface ReconnectOptions {
  /** First delay of an outage, doubled for each further one; the upstream's `retry:` replaces it. Default 1000. */
  readonly baseDelay?: number | undefined
  /** No delay of ours is longer. Default 30000. */
  readonly maxDelay?: number | undefined
  /** The least that the upstream's `retry:` can set. Default 100. */
  readonly minDelay?: number | undefined
  /**
   * How many attempts without progress an outage may have, its first one (number 0) included; then the stream fails
   * with `ERR_SSE_RETRIES_EXHAUSTED`. The start of a stream counts as an outage, and has at least one attempt.
   * `Infinity` never gives up. Default 10.
   */
  readonly maxRetries?: number | undefined
  /** The random part of each delay, from 0 to 1: it takes up to this share off. Default 0.1. */
  readonly jitter?: number | undefined
  /** The most that the upstream's Retry-After can ask for. Default 300000. */
  readonly maxRetryAfter?: number | undefined
  /** A connection that lived this long is progress, even without an event. Default 60000. */
  readonly stableAfter?: number | undefined
  /**
   * Whether to try again after a failed attempt or a drop, in place of the table's answer. It cannot go beyond
   * `maxRetries` nor against `resume`. What it throws, the stream fails with.
   */
  readonly shouldRetry?: ((error: Error, context: RetryContext) => boolean | Promise<boolean>) | undefined
}

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

/** When the stream may go on after a drop that came after its first event. */
export type ResumeMode = 'always' | 'with-cursor' | 'before-first-event' | 'never'

/** Options of a source. All times in milliseconds. */
export interface SourceOptions {
  /** When and how often to reconnect. */
  readonly reconnect?: ReconnectOptions | undefined
  /** Where to start: the last event ID that the reader has. Not together with `tracker`. Default: none. */
  readonly lastEventId?: string | undefined
  /**
   * What was passed on before, for a stream that goes on from an earlier one, or is shared with a dedupe Transform. It
   * counts what was put in the stream's buffer as passed on: go on only from a stream that was read to its end, or failed.
   */
  readonly tracker?: EventTracker | undefined
  /** The place to resume from after an event, when it is not the last event ID; undefined leaves the last one. */
  readonly cursor?: ((event: SseEvent) => string | undefined) | undefined
  /**
   * `'always'` reconnects as EventSource does, and emits `gap` when it cannot say where to resume.
   * `'with-cursor'` reconnects after the first event only when there is a cursor, `'before-first-event'` never after
   * it; a drop then fails with `ERR_SSE_NOT_RESUMABLE`, and a clean end, where no `isTerminal` contradicts, is the end.
   * `'never'` reads one connection to its end, and in byte mode passes every byte on as it came.
   *
   * Default `'always'`; `'before-first-event'` for a factory whose `method` is not idempotent. Such a request is sent again
   * only when it is known not to have been processed: no connection came about, or the answer was 408, 425, 429 or 5xx
   * (RFC 9110, 9.2.2). What answers it is passed on as with `'never'`.
   */
  readonly resume?: ResumeMode | undefined
  /** Whether this event is the last: it is passed on and the stream ends. */
  readonly isTerminal?: ((event: SseEvent) => boolean) | undefined
  /** A response that is open already; the factory is called from the first drop on. */
  readonly initialResponse?: Upstream | undefined
  /** Whether the stream yields {@link SseEvent}s; otherwise bytes. Default false. */
  readonly objectMode?: boolean | undefined
  /**
   * As of any Readable: bytes, or events in object mode. What one chunk of the upstream brings is passed on whole.
   * Default: Node's.
   */
  readonly highWaterMark?: number | undefined
  /**
   * In byte mode, as long as nothing asks what the events are, blocks are passed on unread; of the latest at most this many
   * bytes, and at least half as many, are kept, and read when the connection drops, to know repeats by (the last chunk is
   * kept, however large). It limits the tracker's window then. 0 reads every event. Default 65536.
   *
   * What asks is `isTerminal`, `cursor`, `tracker`, a `comment` listener, `comments: false`, `idleResetOn: 'events'`;
   * and after a reconnect the look-out for repeats.
   */
  readonly windowBytes?: number | undefined
  /** Whether to drop repeated events. Default true. */
  readonly dedupe?: boolean | undefined
  /** Whether comments of the upstream are passed on in byte mode. Default true. */
  readonly comments?: boolean | undefined
  /** The most time until an attempt's response has begun; 0 means no limit. Default 30000. */
  readonly connectTimeout?: number | undefined
  /** The most time that an open connection may be silent; 0 means no limit. Default 300000. */
  readonly idleTimeout?: number | undefined
  /** What ends a silence: any byte, or only an event, so that comments do not hide a dead producer. Default `'bytes'`. */
  readonly idleResetOn?: 'bytes' | 'events' | undefined
  /**
   * The most bytes that one event may have on the wire; more fails with `ERR_SSE_EVENT_TOO_LARGE`. No more than Node's
   * longest string. Default 16 MiB.
   */
  readonly maxEventSize?: number | undefined
  /** What logs and diagnostics call this stream. Default: the upstream's URL, redacted, once it is known. */
  readonly name?: string | undefined
  /** Gets a line for each drop, retry, recovery and failure; a pino logger fits. Default: none. */
  readonly logger?: Logger | undefined
  /** Destroys the stream with an `AbortError` when aborted. */
  readonly signal?: AbortSignal | undefined
}

/** {@link ReconnectOptions}, checked, with the defaults filled in. */
interface CheckedReconnectOptions extends DelayRules, Pick<ReconnectOptions, 'shouldRetry'> {
  readonly maxRetries: number
  readonly stableAfter: number
}

/** {@link SourceOptions}, checked, with the defaults filled in. */
export interface CheckedOptions {
  readonly reconnect: CheckedReconnectOptions
  readonly tracker: EventTracker
  readonly cursor: SourceOptions['cursor']
  /** Absent: by the factory's method. */
  readonly resume: ResumeMode | undefined
  readonly isTerminal: SourceOptions['isTerminal']
  readonly initialResponse: Upstream | undefined
  readonly objectMode: boolean
  readonly highWaterMark: number | undefined
  /** 0 also where something asks what each event is. */
  readonly windowBytes: number
  readonly dedupe: boolean
  readonly comments: boolean
  readonly connectTimeout: number
  readonly idleTimeout: number
  readonly idleResetOn: 'bytes' | 'events'
  readonly maxEventSize: number
  readonly name: string | undefined
  readonly logger: Logger | undefined
  readonly signal: AbortSignal | undefined
}

/** @throws `TypeError` or `RangeError` that names the option and what it got. */
export function checkSourceOptions(options: SourceOptions): CheckedOptions {
  expect(isObject(options), 'options', 'an object', options)
  checkObjects(options)
  const { highWaterMark, maxEventSize } = options
  const windowBytes = count(options.windowBytes, 'windowBytes', 65_536, 0, constants.MAX_STRING_LENGTH)
  return {
    reconnect: checkReconnect(options.reconnect),
    tracker: options.tracker ?? new EventTracker({ lastEventId: options.lastEventId }),
    cursor: options.cursor,
    resume:
      options.resume === undefined
        ? undefined
        : oneOf<ResumeMode>(options.resume, 'resume', [
            'always',
            'with-cursor',
            'before-first-event',
            'never',
          ]),
    isTerminal: options.isTerminal,
    initialResponse: options.initialResponse,
    objectMode: flag(options.objectMode, 'objectMode', false),
    highWaterMark: highWaterMark === undefined ? undefined : count(highWaterMark, 'highWaterMark', 0, 0),
    windowBytes: asksForEvents(options) ? 0 : windowBytes,
    dedupe: flag(options.dedupe, 'dedupe', true),
    comments: flag(options.comments, 'comments', true),
    connectTimeout: number(options.connectTimeout, 'connectTimeout', 30_000, 0, longestTimer),
    idleTimeout: number(options.idleTimeout, 'idleTimeout', 300_000, 0, longestTimer),
    idleResetOn: oneOf(options.idleResetOn, 'idleResetOn', ['bytes', 'events']),
    maxEventSize: count(maxEventSize, 'maxEventSize', 16 * 1024 * 1024, 1, constants.MAX_STRING_LENGTH),
    name: options.name,
    logger: options.logger,
    signal: options.signal,
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

function checkReconnect(options: ReconnectOptions = {}): CheckedReconnectOptions {
  expect(isObject(options), 'reconnect', 'an object', options)
  expectOptional(options.shouldRetry, 'function', 'reconnect.shouldRetry')
  const { baseDelay, maxDelay, minDelay, maxRetries, jitter, maxRetryAfter, stableAfter, shouldRetry } =
    options
  const checked = {
    baseDelay: number(baseDelay, 'reconnect.baseDelay', 1000, 1, longestTimer),
    maxDelay: number(maxDelay, 'reconnect.maxDelay', 30_000, 1, longestTimer),
    minDelay: number(minDelay, 'reconnect.minDelay', 100, 1, longestTimer),
    maxRetries: count(maxRetries, 'reconnect.maxRetries', 10, 0, Number.POSITIVE_INFINITY),
    jitter: number(jitter, 'reconnect.jitter', 0.1, 0, 1),
    maxRetryAfter: number(maxRetryAfter, 'reconnect.maxRetryAfter', 300_000, 0, longestTimer),
    stableAfter: number(stableAfter, 'reconnect.stableAfter', 60_000, 0, Number.POSITIVE_INFINITY),
    shouldRetry,
  }
  // A longest delay below the default of the least one is meant.
  if (minDelay !== undefined && minDelay > checked.maxDelay) {
    throw new RangeError(
      `reconnect.minDelay must not be above maxDelay (${checked.maxDelay}), got ${minDelay}`,
    )
  }
  return checked
}

function checkObjects({
  cursor,
  isTerminal,
  name,
  tracker,
  lastEventId,
  signal,
  logger,
}: SourceOptions): void {
  expectOptional(cursor, 'function', 'cursor')
  expectOptional(isTerminal, 'function', 'isTerminal')
  expectOptional(name, 'string', 'name')
  expect(tracker === undefined || tracker instanceof EventTracker, 'tracker', 'an EventTracker', tracker)
  if (tracker !== undefined && lastEventId !== undefined) {
    throw new TypeError('lastEventId cannot be given together with tracker, which has its own')
  }
  expect(signal === undefined || signal instanceof AbortSignal, 'signal', 'an AbortSignal', signal)
  const levels = 'an object with debug, info, warn and error'
  expect(logger === undefined || isLogger(logger), 'logger', levels, logger)
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function isLogger(value: object): boolean {
  return (
    isObject(value) &&
    (['debug', 'info', 'warn', 'error'] as const).every(
      (level) => typeof Reflect.get(value, level) === 'function',
    )
  )
}

function expect(fits: boolean, name: string, what: string, got: unknown): void {
  if (!fits) throw new TypeError(`${name} must be ${what}, got ${shown(got)}`)
}

export function expectOptional(value: unknown, type: 'function' | 'string', name: string): void {
  expect(value === undefined || typeof value === type, name, `a ${type}`, value)
}

export function flag(value: boolean | undefined, name: string, byDefault: boolean): boolean {
  expect(value === undefined || typeof value === 'boolean', name, 'true or false', value)
  return value ?? byDefault
}

export function oneOf<T extends string>(value: T | undefined, name: string, values: readonly [T, ...T[]]): T {
  const list = values.map((each) => `'${each}'`).join(' or ')
  expect(value === undefined || values.includes(value), name, list, value)
  return value ?? values[0]
}

export function number(
  value: number | undefined,
  name: string,
  byDefault: number,
  least: number,
  most: number,
): number {
  if (value === undefined) return byDefault
  expect(typeof value === 'number', name, 'a number', value)
  if (!(value >= least && value <= most)) {
    throw new RangeError(`${name} must be a number from ${least} to ${most}, got ${shown(value)}`)
  }
  return value
}

function count(
  value: number | undefined,
  name: string,
  byDefault: number,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): number {
  if (value === undefined) return byDefault
  expect(typeof value === 'number', name, 'a number', value)
  const whole = Number.isSafeInteger(value) || value === Number.POSITIVE_INFINITY
  if (!(whole && value >= least && value <= most)) {
    throw new RangeError(`${name} must be a whole number from ${least} to ${most}, got ${shown(value)}`)
  }
  return value
}
