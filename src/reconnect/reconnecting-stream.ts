import type { StreamOutcome, StreamStats } from '../diagnostics.ts'
import { asError, callReport, SseError } from '../errors.ts'
import { Cancellation } from '../http/cancellation.ts'
import { Delivered } from '../resume/delivered.ts'
import { type Connection, type Drop, dial } from '../upstream/connection.ts'
import {
  discardBody,
  type OpenedUpstream,
  openUpstream,
  type Upstream,
  type UpstreamFactory,
} from '../upstream/shapes.ts'
import type { SseEvent } from '../wire/event.ts'
import { Announcer, manyRepeats, repeatsAtEnd } from './announcer.ts'
import { contextOf, type Interruption, isCleanEnd, type Outcome, retry } from './attempts.ts'
import { History } from './history.ts'
import { BlockIntake, type Intake, type IntakeOwner, VerbatimIntake } from './intake.ts'
import { type CheckedOptions, type LastingOptions, lastingOptions } from './options.ts'
import { ResumePolicy } from './resume-policy.ts'
import { Retries } from './retries.ts'
import type { Sink } from './sink.ts'
import { Wait } from './wait.ts'

/**
 * The state of a stream: an attempt is running, a connection is open, a delay is running, or the stream is over.
 *
 * @example
 * ```ts
 * import type { SourceState } from 'resilient-sse'
 *
 * const isLive = (state: SourceState) => state === 'open'
 * ```
 */
export type SourceState = 'connecting' | 'open' | 'waiting' | 'ended'

/**
 * A stream that spans many upstream connections. The class opens and closes the connections, asks {@link Delivered} where
 * to resume and which events are fresh, and passes whole blocks to a sink.
 */
export class ReconnectingStream implements IntakeOwner {
  readonly #factory: UpstreamFactory
  readonly #options: LastingOptions
  readonly #sink: Sink
  readonly #delivered: Delivered
  readonly #history = new History()
  readonly #resume: ResumePolicy
  readonly #announcer: Announcer
  readonly #isVerbatim: boolean
  #initialResponse: OpenedUpstream | undefined
  #state: SourceState = 'connecting'
  #isStarted = false
  #isPaused = false
  /** Aborts the current attempt, or its connection. */
  #cancellation: Cancellation | undefined
  #connection: Connection | undefined
  #intake: Intake | undefined
  /** Whether the latest connection had passed on whole blocks only. */
  #wasBetweenBlocks = true
  /** Receives the outcome of the current attempt; undefined for an attempt that follows no failure. */
  #settle: ((outcome: Outcome) => void) | undefined
  readonly #wait = new Wait()
  readonly #retries: Retries

  constructor(factory: UpstreamFactory, options: CheckedOptions, sink: Sink) {
    this.#factory = factory
    this.#options = lastingOptions(options)
    this.#sink = sink
    this.#announcer = new Announcer(this.#options, sink, factory.url)
    this.#resume = new ResumePolicy(options.resume, factory.method)
    // Not in object mode: events have no bytes that could be passed on unchanged.
    this.#isVerbatim = this.#resume.isVerbatim && !options.objectMode && sink.needsWholeBlocks !== true
    this.#retries = new Retries(options.reconnect, this.#resume.isSentOnce)
    // Verbatim bytes are passed on from one connection only, which cannot repeat events of an earlier one.
    this.#delivered = new Delivered({ ...options, dedupe: options.dedupe && !this.#resume.isVerbatim })
    if (options.initialResponse === undefined) return
    this.#initialResponse = openUpstream(options.initialResponse, 'initialResponse must be')
    const { body } = this.#initialResponse
    // Before the stream starts, the body may fail without a listener, or flow without a reader.
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
    return this.#delivered.lastEventId
  }

  get cursor(): string | undefined {
    return this.#delivered.position.cursor
  }

  /** Whether the request may be sent again after its first event. */
  get isRepeatable(): boolean {
    return this.#resume.isRepeatable
  }

  /** Whether a line of our own, such as a heartbeat, may be inserted now. */
  get isBetweenBlocks(): boolean {
    return this.#intake?.isBetweenBlocks ?? this.#wasBetweenBlocks
  }

  get stats(): StreamStats {
    return { ...this.#history.stats, events: this.#delivered.events }
  }

  /** Starts the stream. Further calls have no effect. */
  start(): void {
    if (this.#isStarted || this.isOver) return
    this.#isStarted = true
    try {
      this.#announcer.start(() => this.stats)
    } catch (error) {
      this.onFault(asError(error))
      return
    }
    this.#attempt()
  }

  /** Pauses the connection, and delays further attempts, until {@link resume}. */
  pause(): void {
    this.#isPaused = true
    this.#connection?.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#connection?.resume()
    this.#wait.look()
  }

  /** Fails the stream with an error of the caller's code. */
  fail(error: Error): void {
    this.#finish('failed', error)
  }

  /** Stops the attempt, the connection and all timers at once. No further method of the sink is called. */
  stop(error?: Error): void {
    this.#finish('aborted', error)
  }

  /** A connection waits in no promise unless attempts have failed: promises hold 1 kB while they wait. */
  #onOutcome(outcome: Outcome): void {
    const settle = this.#settle
    this.#settle = undefined
    if (settle) settle(outcome)
    else if (outcome === 'ended') this.#finish('ended')
    else this.#interrupted(outcome).catch((error: unknown) => this.#finish('failed', asError(error)))
  }

  async #interrupted(interruption: Interruption): Promise<void> {
    if (isCleanEnd(interruption)) {
      if (!(await this.#beforeRetry(interruption))) throw interruption.error
      this.#attempt()
    } else {
      const beforeRetry = (latest: Interruption) => this.#beforeRetry(latest)
      this.#onOutcome(await retry(interruption, beforeRetry, () => this.#nextOutcome()))
    }
  }

  async #nextOutcome(): Promise<Outcome> {
    if (this.isOver) return 'ended'
    return new Promise((resolve) => {
      this.#settle = resolve
      this.#attempt()
    })
  }

  /** Makes one attempt, whose outcome is known when its connection is lost. Never rejects. */
  async #attempt(): Promise<void> {
    if (this.isOver) return
    const initialResponse = this.#initialResponse
    this.#initialResponse = undefined
    const attempt = initialResponse ? -1 : this.#retries.begin()
    this.#state = 'connecting'
    const cancellation = new Cancellation()
    this.#cancellation = cancellation
    let connection: Connection | undefined
    try {
      connection = await dial(initialResponse ?? (() => this.#call(attempt, cancellation)), {
        connectTimeout: this.#options.connectTimeout,
        idleTimeout: this.#options.idleTimeout,
        fastPath: this.#options.fastPath,
        controller: cancellation,
      })
    } catch (error) {
      if (this.isOver) return
      this.#history.failed(error)
      this.#onOutcome({ error, progress: false })
      return
    }
    if (this.isOver) connection?.close()
    else if (connection) this.#read(connection, attempt)
    else this.#onOutcome('ended')
  }

  #call(attempt: number, cancellation: Cancellation): Upstream | Promise<Upstream> {
    this.#history.attempt()
    const { fastPath } = this.#options
    const { lastError } = this.#history
    return this.#factory(contextOf(this.#delivered.position, { attempt, lastError, fastPath }, cancellation))
  }

  #read(connection: Connection, attempt: number): void {
    try {
      const intake = this.#intakeOf(connection)
      this.#opened(connection, attempt)
      if (this.isOver) return
      connection.read(intake)
      if (this.#isPaused) connection.pause()
    } catch (error) {
      this.onFault(asError(error))
    }
  }

  #intakeOf(connection: Connection): Intake {
    const intake = new (this.#isVerbatim ? VerbatimIntake : BlockIntake)(connection, {
      options: this.#options,
      delivered: this.#delivered,
      sink: this.#sink,
      history: this.#history,
      owner: this,
    })
    this.#connection = connection
    this.#intake = intake
    return intake
  }

  #opened(connection: Connection, attempt: number): void {
    this.#state = 'open'
    this.#announcer.url = connection.url
    this.#delivered.opened()
    this.#sink.opened?.(connection.headers)
    if (this.isOver) return
    const { lastEventId, cursor, isSendable } = this.#delivered.position
    const { lastDrop } = this.#history
    const opens = this.#history.open()
    this.#announcer.announce('open', { ...this.#announcer.about, attempt, opens, cursor, after: lastDrop })
    if (this.isOver || isSendable || (this.#delivered.events === 0 && lastEventId === '')) return
    this.#history.gap()
    this.#announcer.announce('gap', { ...this.#announcer.about, cursor })
  }

  onDrop(drop: Drop): void {
    try {
      this.#onOutcome(this.#outcomeOf(drop))
    } catch (error) {
      this.onFault(asError(error))
    }
  }

  /** Called when a function of the caller has thrown, or for an error that every retry would repeat. */
  onFault(error: Error): void {
    this.fail(error)
  }

  onFull(): void {
    this.pause()
  }

  onTerminal(): void {
    this.#finish('ended')
  }

  onDuplicate(event: SseEvent): void {
    this.#history.duplicates++
    this.#announcer.announce('duplicate', { ...this.#announcer.about, event })
    this.#announcer.repeats(this.#delivered, manyRepeats)
  }

  onReconnectionTime(milliseconds: number): void {
    // Also a stream that is not repeatable may reconnect before its first event.
    this.#retries.reconnectionTime = milliseconds
    if (!this.isRepeatable) this.#sink.reconnectionTime?.(milliseconds)
  }

  #outcomeOf(drop: Drop): Outcome {
    const { reason, error } = drop
    const connection = this.#connection
    const duration = connection?.openFor ?? 0
    this.#connection = undefined
    // After a clean end the socket may be reused for another request, so it is not destroyed.
    if (reason !== 'end') this.#cancellation?.abort(error)
    this.#cancellation = undefined
    this.#intake?.end()
    this.#closeIntake()
    this.#announcer.repeats(this.#delivered, repeatsAtEnd)
    if (this.isOver) return 'ended'
    const progress = this.#delivered.isFresh || duration >= this.#options.reconnect.stableAfter
    const { cursor } = this.#delivered.position
    const result = this.#resume.resultOf(drop, this.#delivered.events, cursor, this.#options)
    if (result === 'ended') return 'ended'
    this.#state = 'waiting'
    this.#history.drop(reason, error)
    this.#announcer.announce('drop', { ...this.#announcer.about, reason, error, duration, progress })
    return { error: result, progress, endedCleanlyFrom: reason === 'end' ? connection?.openedAt : undefined }
  }

  /**
   * Waits until the next attempt is due and the sink has room: while the sink is full, another connection would only fill
   * memory.
   *
   * @returns False when no attempt may follow: the stream then fails with the interruption's error.
   * @throws {@link SseError} `ERR_SSE_RETRIES_EXHAUSTED`; an error of `shouldRetry`.
   */
  async #beforeRetry({ error, progress, endedCleanlyFrom }: Interruption): Promise<boolean> {
    // Any other error is a fault in the caller's code, which another attempt would repeat.
    if (this.isOver || !(error instanceof SseError) || error.code === 'ERR_SSE_NOT_RESUMABLE') return false
    if (this.#resume.isNever) return false
    if (progress) this.#retries.restart(endedCleanlyFrom)
    this.#state = 'waiting'
    const passedOn = { ...this.#delivered.position, passedOn: this.#delivered.events > 0 }
    const due = await this.#retries.next(error, passedOn)
    if (due === undefined || this.isOver) return false
    const { attemptFailed: failed, lastDrop: after } = this.#history
    const { attempt } = this.#retries
    this.#announcer.announce('retry', { ...this.#announcer.about, attempt, ...due, error, failed, after })
    if (!this.isOver) await this.#wait.start(due.delay, () => !this.#isPaused)
    return !this.isOver
  }

  /** Discards the unfinished block, which may be as large as `maxEventSize`. */
  #closeIntake(): void {
    this.#wasBetweenBlocks = this.isBetweenBlocks
    this.#intake?.close()
    this.#intake = undefined
  }

  /** Ends the stream: completed, failed or aborted. */
  #finish(outcome: StreamOutcome, error?: Error): void {
    if (this.isOver) return
    const duration = this.#connection?.openFor
    this.#state = 'ended'
    this.#history.up()
    this.#connection?.close()
    this.#connection = undefined
    this.#cancellation?.abort(error)
    this.#cancellation = undefined
    if (this.#initialResponse) discardBody(this.#initialResponse.body)
    this.#wait.end()
    this.#settle?.('ended')
    this.#delivered.close()
    this.#closeIntake()
    const { attemptFailed: failed, lastDrop: after } = this.#history
    const message = { outcome, error, duration, failed, after, stats: this.stats }
    if (outcome === 'aborted') {
      callReport(() => this.#announcer.end(message))
      return
    }
    let failure = outcome === 'failed' ? error : undefined
    try {
      this.#announcer.end(message)
    } catch (fault) {
      failure = asError(fault)
    }
    if (failure) this.#sink.fail(failure)
    else this.#sink.end()
  }
}
