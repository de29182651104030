import { backOff } from 'exponential-backoff'
import {
  announce,
  type Messages,
  nextStreamId,
  type StreamOutcome,
  type StreamStats,
} from '../diagnostics.ts'
import { asError, callReport, SseError } from '../errors.ts'
import { isIdempotent } from '../http/dialer.ts'
import { redactUrl } from '../http/url.ts'
import { Delivered } from '../resume/delivered.ts'
import { type Connection, type ConnectionReader, type Drop, dial } from '../upstream/connection.ts'
import {
  discardBody,
  type OpenedUpstream,
  openUpstream,
  type Upstream,
  type UpstreamFactory,
} from '../upstream/shapes.ts'
import type { SseEvent } from '../wire/event.ts'
import { delayOf, isRetryable } from './delay.ts'
import { History } from './history.ts'
import { BlockIntake, type Intake, type IntakeOwner, VerbatimIntake } from './intake.ts'
import type { CheckedOptions, ResumeMode } from './options.ts'
import type { Announced, Sink } from './sink.ts'

/** Where a stream stands: an attempt is under way, a connection is open, a delay is running, or the stream is over. */
export type SourceState = 'connecting' | 'open' | 'waiting' | 'ended'

/** How an attempt came to its end: the stream is complete, or there may be another attempt. */
type Outcome = 'ended' | Interruption

interface Interruption {
  readonly error: unknown
  readonly progress: boolean
}

/**
 * A stream that spans many upstream connections: it owns their life, asks {@link Delivered} where to resume and what is
 * fresh, and hands whole blocks to a sink.
 */
export class ReconnectingStream implements IntakeOwner, ConnectionReader {
  readonly #id = nextStreamId()
  readonly #factory: UpstreamFactory
  readonly #options: CheckedOptions
  readonly #sink: Sink
  readonly #delivered: Delivered
  readonly #history = new History()
  readonly #resume: ResumeMode
  /** Whether the request is sent again only when it is known not to have been processed (RFC 9110, 9.2.2). */
  readonly #isSentOnce: boolean
  /** Whether bytes are passed on as they come: of a request that is sent once, they belong to its client. */
  readonly #isVerbatim: boolean
  #initialResponse: OpenedUpstream | undefined
  #upstreamUrl: string | undefined
  #state: SourceState = 'connecting'
  #isStarted = false
  #isPaused = false
  /** Ends the attempt that is under way, or its connection. */
  #controller: AbortController | undefined
  #connection: Connection | undefined
  #intake: Intake | undefined
  /** Says how the attempt that is under way came to its end. */
  #settle: (outcome: Outcome) => void = () => {}
  /** Ends the wait that is under way. */
  #endWait: () => void = () => {}
  /** Ends the wait that is under way if its delay is over. */
  #endWaitForRoom: () => void = () => {}
  /** Attempts, and retries among them, since the last progress. */
  #attempts = 0
  #retries = 0
  /** The upstream's latest `retry:` field, in milliseconds. */
  #reconnectionTime: number | undefined
  /** When the connection opened that has just ended cleanly after progress. */
  #endedCleanlyFrom: number | undefined
  #bytes = 0
  #duplicates = 0

  constructor(factory: UpstreamFactory, options: CheckedOptions, sink: Sink) {
    this.#factory = factory
    this.#options = options
    this.#sink = sink
    const idempotent = isIdempotent(factory.method ?? 'GET')
    this.#resume = options.resume ?? (idempotent ? 'always' : 'before-first-event')
    this.#isSentOnce = !idempotent && this.#resume === 'before-first-event'
    this.#isVerbatim = !options.objectMode && (this.#isSentOnce || this.#resume === 'never')
    this.#delivered = new Delivered({ ...options, dedupe: options.dedupe && !this.#isVerbatim })
    this.#upstreamUrl = factory.url && redactUrl(factory.url)
    if (options.initialResponse === undefined) return
    this.#initialResponse = openUpstream(options.initialResponse, 'initialResponse must be')
    const { body } = this.#initialResponse
    // It may flow, or fail, before the stream starts.
    body.on('error', () => {})
    body.pause()
  }

  get state(): SourceState {
    return this.#state
  }

  get isOver(): boolean {
    return this.#state === 'ended'
  }

  get lastEventId(): string {
    return this.#delivered.position.lastEventId
  }

  get cursor(): string | undefined {
    return this.#delivered.position.cursor
  }

  /** Whether the request may be made again after its first event: not so where it is sent once. */
  get isRepeatable(): boolean {
    return this.#resume === 'always' || this.#resume === 'with-cursor'
  }

  /** Whether a line that is not the upstream's may be put in here. */
  get isBetweenBlocks(): boolean {
    return this.#intake?.isBetweenBlocks ?? true
  }

  get stats(): StreamStats {
    const { events } = this.#delivered
    return { ...this.#history.stats, events, duplicates: this.#duplicates, bytes: this.#bytes }
  }

  /** Dials the upstream, unless that was done before. */
  start(): void {
    if (this.#isStarted || this.isOver) return
    this.#isStarted = true
    this.#announceStart()
    this.#run().then(
      () => this.#finish('ended'),
      (error: unknown) => this.#finish('failed', asError(error)),
    )
  }

  /** Stops the upstream, and attempts, until {@link resume}. */
  pause(): void {
    this.#isPaused = true
    this.#connection?.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#connection?.resume()
    this.#endWaitForRoom()
  }

  /** Ends everything that is under way at once. The sink is not called any more. */
  stop(error?: Error): void {
    this.#finish('aborted', error)
  }

  /**
   * The stream's one loop: attempts until one of them says that the stream is complete.
   *
   * @throws What the stream fails with: {@link SseError} where going on would be wrong, or an error of the caller's own
   * functions.
   */
  async #run(): Promise<void> {
    let interruption: Interruption | undefined
    await backOff(
      async () => {
        const outcome = await this.#attempt()
        interruption = outcome === 'ended' ? undefined : outcome
        if (interruption) throw interruption.error
      },
      {
        // How often is decided by #beforeRetry: progress starts the count anew.
        numOfAttempts: Number.POSITIVE_INFINITY,
        // The package's own timer cannot be cleared: it gets nothing to wait for, and the wait is #beforeRetry's.
        startingDelay: 0,
        // Doubling nothing a thousand times is not a number.
        timeMultiple: 1,
        retry: async () => interruption !== undefined && (await this.#beforeRetry(interruption)),
      },
    )
  }

  /** One attempt, and its connection until that is lost. Never rejects. */
  async #attempt(): Promise<Outcome> {
    if (this.isOver) return 'ended'
    const initialResponse = this.#initialResponse
    this.#initialResponse = undefined
    const attempt = initialResponse ? -1 : this.#attempts++
    this.#state = 'connecting'
    this.#endedCleanlyFrom = undefined
    const controller = new AbortController()
    this.#controller = controller
    let connection: Connection | undefined
    try {
      connection = await dial(initialResponse ?? ((signal) => this.#call(attempt, signal)), {
        connectTimeout: this.#options.connectTimeout,
        idleTimeout: this.#options.idleTimeout,
        controller,
      })
    } catch (error) {
      if (this.isOver) return 'ended'
      this.#history.failed(error)
      return { error, progress: false }
    }
    if (connection === undefined || this.isOver) {
      connection?.close()
      return 'ended'
    }
    return this.#read(connection, attempt)
  }

  #call(attempt: number, signal: AbortSignal): Upstream | Promise<Upstream> {
    const { lastEventId, cursor, header } = this.#delivered.position
    this.#history.attempt()
    return this.#factory({
      attempt,
      lastEventId,
      cursor,
      headers: {
        accept: 'text/event-stream',
        'cache-control': 'no-cache',
        ...(header !== undefined && { 'last-event-id': header }),
      },
      signal,
      lastError: this.#history.lastError,
    })
  }

  #read(connection: Connection, attempt: number): Promise<Outcome> {
    return new Promise((resolve) => {
      this.#settle = resolve
      try {
        this.#open(connection, attempt)
        if (this.isOver) return
        connection.read(this)
        if (this.#isPaused) connection.pause()
      } catch (error) {
        this.onFault(asError(error))
      }
    })
  }

  #open(connection: Connection, attempt: number): void {
    this.#connection = connection
    this.#state = 'open'
    this.#upstreamUrl ??= connection.url && redactUrl(connection.url)
    this.#intake = new (this.#isVerbatim ? VerbatimIntake : BlockIntake)(
      this.#options,
      this.#delivered,
      this.#sink,
      this,
    )
    this.#delivered.opened()
    this.#sink.opened?.(connection.headers)
    const { lastEventId, cursor, isSendable } = this.#delivered.position
    const { lastDrop } = this.#history
    const opens = this.#history.open()
    this.#announce('open', { ...this.#about, attempt, opens, cursor, after: lastDrop })
    if (this.isOver || isSendable || (this.#delivered.events === 0 && lastEventId === '')) return
    this.#history.gap()
    this.#announce('gap', { ...this.#about, cursor })
  }

  onChunk(chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#options.idleResetOn === 'bytes') this.#connection?.touch()
    this.#intake?.take(chunk)
  }

  onDrop(drop: Drop): void {
    try {
      this.#settle(this.#outcomeOf(drop))
    } catch (error) {
      this.onFault(asError(error))
    }
  }

  /** The caller's own code has thrown, or the upstream sent what no retry can mend. */
  onFault(error: Error): void {
    this.#finish('failed', error)
  }

  onFull(): void {
    this.pause()
  }

  onEvents(): void {
    if (this.#options.idleResetOn === 'events') this.#connection?.touch()
  }

  onTerminal(): void {
    this.#finish('ended')
  }

  onDuplicate(event: SseEvent): void {
    this.#duplicates++
    this.#announce('duplicate', { ...this.#about, event })
  }

  onReconnectionTime(milliseconds: number): void {
    if (this.isRepeatable) this.#reconnectionTime = milliseconds
    else this.#sink.reconnectionTime?.(milliseconds)
  }

  #outcomeOf({ reason, error }: Drop): Outcome {
    const connection = this.#connection
    const duration = connection?.openFor ?? 0
    this.#connection = undefined
    // After a clean end there is nothing to abort, and the socket may serve another request.
    if (reason !== 'end') this.#controller?.abort(error)
    this.#controller = undefined
    this.#intake?.end()
    if (this.isOver) return 'ended'
    const progress = this.#delivered.isFresh || duration >= this.#options.reconnect.stableAfter
    const canResume = this.#canResume()
    if (reason === 'end' && !canResume && !this.#options.isTerminal) return 'ended'
    this.#state = 'waiting'
    this.#history.drop(reason, error)
    this.#announce('drop', { ...this.#about, reason, error, duration, progress })
    if (!canResume && this.#resume !== 'never') {
      const why = 'the stream cannot be resumed after its first event'
      const cause = { cause: error }
      return { error: new SseError('ERR_SSE_NOT_RESUMABLE', `${why}: ${error.message}`, cause), progress }
    }
    if (progress && reason === 'end') this.#endedCleanlyFrom = connection?.openedAt
    return { error, progress }
  }

  /** Whether the stream may go on with another connection. */
  #canResume(): boolean {
    if (this.#resume === 'never') return false
    if (this.#delivered.events === 0) return !this.#isSentOnce
    if (this.#resume === 'with-cursor') return this.#delivered.position.cursor !== undefined
    return this.#resume === 'always'
  }

  /**
   * Waits until the next attempt is due.
   *
   * @returns False when there shall be none: the stream then fails with the interruption's error.
   * @throws {@link SseError} `ERR_SSE_RETRIES_EXHAUSTED`; what `shouldRetry` throws.
   */
  async #beforeRetry({ error, progress }: Interruption): Promise<boolean> {
    // An error that is not ours is a fault in the caller's code, which another attempt does not mend.
    if (this.isOver || !(error instanceof SseError) || error.code === 'ERR_SSE_NOT_RESUMABLE') return false
    if (this.#resume === 'never') return false
    if (progress) {
      this.#attempts = 0
      this.#retries = 0
    }
    this.#state = 'waiting'
    if (!(await this.#shallRetry(error)) || this.isOver) return false
    const { reconnect } = this.#options
    if (this.#retries >= reconnect.maxRetries) {
      const retries = this.#retries === 1 ? '1 retry' : `${this.#retries} retries`
      const message = `gave up after ${retries} without progress: ${error.message}`
      throw new SseError('ERR_SSE_RETRIES_EXHAUSTED', message, { cause: error })
    }
    const openedAt = this.#endedCleanlyFrom
    const occasion = {
      retry: this.#retries++,
      reconnectionTime: this.#reconnectionTime,
      retryAfter: error.retryAfter,
      sinceOpen: openedAt === undefined ? undefined : performance.now() - openedAt,
    }
    const { delay, source } = delayOf(reconnect, occasion, Math.random)
    const { attemptFailed: failed, lastDrop: after } = this.#history
    this.#announce('retry', { ...this.#about, attempt: this.#attempts, delay, source, error, failed, after })
    await this.#wait(delay)
    return !this.isOver
  }

  async #shallRetry(error: SseError): Promise<boolean> {
    const { reconnect } = this.#options
    const passedOn = this.#delivered.events > 0
    const retryable = isRetryable(error, { passedOn, once: this.#isSentOnce })
    if (!reconnect.shouldRetry) return retryable
    const { lastEventId, cursor } = this.#delivered.position
    return reconnect.shouldRetry(error, {
      attempts: this.#attempts,
      passedOn,
      lastEventId,
      cursor,
      retryable,
    })
  }

  /**
   * Resolves when the delay is over and the sink has room: while it is full, what another connection brings could only be
   * kept in memory. Resolves at once when the stream is over.
   */
  #wait(delay: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.isOver) {
        resolve()
        return
      }
      const timer = setTimeout(() => {
        this.#endWaitForRoom = () => {
          if (!this.#isPaused) resolve()
        }
        this.#endWaitForRoom()
      }, delay)
      this.#endWait = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  get #about() {
    const { name } = this.#options
    return { id: this.#id, stream: this.#sink, name, upstream: this.#upstreamUrl }
  }

  #announceStart(): void {
    const message = { ...this.#about, stats: () => this.stats }
    try {
      announce('start', message, this.#options.logger)
    } catch (error) {
      this.onFault(asError(error))
    }
  }

  #announce<K extends Announced>(kind: K, message: Messages[K]): void {
    announce(kind, message, this.#options.logger)
    this.#sink.announced(kind, message)
  }

  /** The one way in which the stream comes to its end. */
  #finish(outcome: StreamOutcome, error?: Error): void {
    if (this.isOver) return
    const duration = this.#connection?.openFor
    this.#state = 'ended'
    this.#history.up()
    this.#connection?.close()
    this.#connection = undefined
    this.#controller?.abort(error)
    this.#controller = undefined
    if (this.#initialResponse) discardBody(this.#initialResponse.body)
    this.#endWait()
    this.#settle('ended')
    this.#delivered.close()
    const { attemptFailed: failed, lastDrop: after } = this.#history
    const message = { ...this.#about, outcome, error, duration, failed, after, stats: this.stats }
    if (outcome === 'aborted') {
      callReport(() => announce('end', message, this.#options.logger))
      return
    }
    let failure = outcome === 'failed' ? error : undefined
    try {
      announce('end', message, this.#options.logger)
    } catch (fault) {
      failure = asError(fault)
    }
    if (failure) this.#sink.fail(failure)
    else this.#sink.end()
  }
}
