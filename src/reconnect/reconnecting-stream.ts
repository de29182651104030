import type { Messages, StreamMessage } from '../diagnostics.ts'
import { SseError } from '../errors.ts'
import { encodeLastEventId } from '../http/fields.ts'
import { redactUrl } from '../http/url.ts'
import { type Connection, type Drop, dial } from '../upstream/connection.ts'
import {
  discardBody,
  type OpenedUpstream,
  openUpstream,
  type Upstream,
  type UpstreamFactory,
} from '../upstream/shapes.ts'
import { delayOf, isRetryable, retryLoop } from './delay.ts'
import { History } from './history.ts'
import type { CheckedOptions } from './options.ts'

/** Where a source stands: an attempt is under way, a connection is open, a delay is running, or it is over. */
export type SourceState = 'connecting' | 'open' | 'waiting' | 'ended'

/** Who reads the connections that a reconnector opens. */
export interface ConnectionUser {
  /** Whether anything was passed on yet. */
  readonly passedOn: boolean
  /** Whether the live connection has brought a fresh event. */
  readonly fresh: boolean
  onOpen(connection: Connection): void
  onChunk(chunk: unknown, connection: Connection): void
  /** No chunk of this connection follows. */
  onEnd(): void
  announce<K extends Exclude<keyof Messages, 'end'>>(name: K, message: Messages[K]): void
}

/** A connection that has made progress, or is over. */
interface Live {
  /** Resolves once it is lost: with why, or with undefined at the stream's end. */
  readonly lost: Promise<SseError | undefined>
}

/** Opens connections one after another: attempts, drops, delays, and the decision whether there is a next one. */
export class Reconnector {
  /** The upstream's latest `retry:` field, in milliseconds; it is clamped where it is used. */
  reconnectionTime: number | undefined
  readonly #factory: UpstreamFactory
  readonly #options: CheckedOptions
  readonly #user: ConnectionUser
  /** Until it is dropped, when the factory takes over. */
  #initialResponse: OpenedUpstream | undefined
  /** Ends the attempt that is under way, or its connection. */
  #controller: AbortController | undefined
  /** What messages call the stream; once it is known. */
  #name: string | undefined
  #state: SourceState = 'connecting'
  #connection: Connection | undefined
  #paused = false
  /** Whether the live connection has been read from. */
  #heard = false
  /** A connection was lost before its reader had room for anything of it. */
  #unheard = false
  #onResume: () => void = () => {}
  /** Ends the delay that is under way. */
  #endDelay: () => void = () => {}
  /** Retries since the last progress. */
  #retries = 0
  /** When the connection opened that has just ended cleanly after progress. */
  #endedCleanlyFrom: number | undefined
  readonly #history = new History()

  constructor(factory: UpstreamFactory, options: CheckedOptions, user: ConnectionUser) {
    this.#factory = factory
    this.#options = options
    this.#user = user
    this.#name = options.name ?? nameOf(factory.url)
    if (options.initialResponse === undefined) return
    this.#initialResponse = openUpstream(options.initialResponse, 'initialResponse must be')
    const { body } = this.#initialResponse
    // It may flow, or fail, before the source is read for the first time.
    body.on('error', () => {})
    body.pause()
  }

  get state(): SourceState {
    return this.#state
  }

  get stats() {
    return this.#history.stats
  }

  /** Which stream a message is about. */
  get about(): StreamMessage {
    return { stream: this.#user, name: this.#name }
  }

  /** How long the live connection has been open, in milliseconds. */
  get openFor(): number | undefined {
    return this.#connection && performance.now() - this.#connection.openedAt
  }

  /** Stops the upstream, also the one of the next connection, until {@link resume}. */
  pause(): void {
    this.#paused = true
    this.#connection?.pause()
  }

  resume(): void {
    this.#paused = false
    this.#connection?.resume()
    this.#onResume()
  }

  /** Ends everything that is under way; {@link run} then throws, and nothing is handed on any more. */
  stop(error: Error | undefined): void {
    this.#state = 'ended'
    this.#history.up()
    this.#controller?.abort(error)
    this.#endDelay()
    this.#onResume()
    this.#connection?.close(error)
    this.#connection = undefined
    if (this.#initialResponse) discardBody(this.#initialResponse.body)
  }

  /**
   * Resolves at the stream's end.
   *
   * @throws {@link SseError} where going on would be wrong; whatever the caller's own functions throw.
   */
  async run(): Promise<void> {
    try {
      let lost: unknown = await (this.#initialResponse ? this.#adopt(this.#initialResponse) : this.#outage())
      this.#initialResponse = undefined
      while (lost !== undefined) {
        await this.#beforeNext(lost, 0)
        lost = await this.#outage()
      }
    } finally {
      this.#state = 'ended'
      this.#history.up()
    }
  }

  /** Attempts until one is lost after progress (resolves with that error), or the stream is at its end. */
  async #outage(): Promise<SseError | undefined> {
    const live = await retryLoop((n) => this.#attempt(n, (signal) => this.#call(n, signal)), {
      attempts: this.#options.reconnect.maxRetries,
      beforeNext: (error, next) => this.#beforeNext(error, next),
    })
    return live.lost
  }

  /** The same with a response that is open already; resolves also when that is lost without progress. */
  async #adopt(response: OpenedUpstream): Promise<unknown> {
    try {
      return await (await this.#attempt(-1, response)).lost
    } catch (error) {
      return error
    }
  }

  #call(attempt: number, signal: AbortSignal): Upstream | Promise<Upstream> {
    const { lastEventId, cursor } = this.#options.tracker
    const header = encodeLastEventId(lastEventId)
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

  /** One attempt. Resolves as soon as there is progress, so that nothing of the attempt is kept while all is well. */
  async #attempt(n: number, upstream: Parameters<typeof dial>[0]): Promise<Live> {
    this.#throwIfStopped()
    this.#state = 'connecting'
    this.#endedCleanlyFrom = undefined
    const { connectTimeout, idleTimeout } = this.#options
    const controller = new AbortController()
    this.#controller = controller
    const connection = await dial(upstream, { connectTimeout, idleTimeout, controller })
    if (connection === undefined) {
      this.#controller = undefined
      return { lost: Promise.resolve(undefined) }
    }
    if (this.#isStopped()) connection.close()
    this.#throwIfStopped()
    this.#onOpen(connection, n)
    return new Promise((resolve, reject) => {
      let progressed = false
      const onChunk = (chunk: unknown) => {
        this.#heard = true
        this.#user.onChunk(chunk, connection)
        if (progressed || !this.#user.fresh) return
        progressed = true
        resolve({ lost })
      }
      const lost = connection.read(onChunk).then((drop) => this.#onOver(connection, drop))
      lost.then(() => resolve({ lost }), reject)
    })
  }

  #onOver(connection: Connection, drop: Drop | undefined): SseError | undefined {
    this.#throwIfStopped()
    // Closed from here: after the terminal event.
    if (drop === undefined) return undefined
    this.#connection = undefined
    this.#controller = undefined
    this.#user.onEnd()
    this.#throwIfStopped()
    return this.#onDrop(connection, drop)
  }

  #onOpen(connection: Connection, attempt: number): void {
    const { tracker, cursor } = this.#options
    this.#connection = connection
    this.#state = 'open'
    this.#heard = false
    this.#name ??= nameOf(connection.url)
    if (this.#paused) connection.pause()
    tracker.opened()
    this.#user.onOpen(connection)
    const opens = this.#history.open()
    this.#user.announce('open', { ...this.about, attempt, opens, cursor: tracker.cursor })
    if (this.#isStopped()) return
    const sent = cursor ? tracker.cursor : encodeLastEventId(tracker.lastEventId)
    if (sent === undefined && (this.#user.passedOn || tracker.lastEventId !== '')) {
      this.#history.gap()
      this.#user.announce('gap', { ...this.about, cursor: tracker.cursor })
    }
  }

  #onDrop({ openedAt }: Connection, { reason, error }: Drop): SseError | undefined {
    const { isTerminal, resume, reconnect, tracker } = this.#options
    const { passedOn, fresh } = this.#user
    const duration = performance.now() - openedAt
    const progress = fresh || duration >= reconnect.stableAfter
    this.#unheard = this.#paused && !this.#heard
    this.#state = 'waiting'
    this.#history.drop(reason, error)
    this.#user.announce('drop', { ...this.about, reason, error, duration, progress })
    if (
      passedOn &&
      resume !== 'always' &&
      (resume === 'before-first-event' || tracker.cursor === undefined)
    ) {
      if (reason === 'end' && !isTerminal) return undefined
      const why = 'the stream cannot be resumed after its first event'
      throw new SseError('ERR_SSE_NOT_RESUMABLE', `${why}: ${error.message}`, { cause: error })
    }
    // A reader that has no room for more is not the upstream's failure, and not counted as one.
    if (!progress && !this.#unheard) throw error
    this.#retries = 0
    if (reason === 'end') this.#endedCleanlyFrom = openedAt
    return error
  }

  /** Waits until attempt `next` is due; throws when there shall be none. */
  async #beforeNext(error: unknown, next: number): Promise<void> {
    // What is not ours is a fault in the caller's code, which another attempt does not mend.
    if (this.#isStopped() || !(error instanceof SseError) || error.code === 'ERR_SSE_NOT_RESUMABLE')
      throw error
    const { reconnect } = this.#options
    this.#state = 'waiting'
    this.#history.down(error)
    if (!(await this.#shallRetry(error, next))) throw error
    this.#throwIfStopped()
    if (next >= reconnect.maxRetries) {
      const message = `gave up after ${next} attempts without progress: ${error.message}`
      throw new SseError('ERR_SSE_RETRIES_EXHAUSTED', message, { cause: error })
    }
    const openedAt = this.#endedCleanlyFrom
    const occasion = {
      retry: this.#retries++,
      reconnectionTime: this.reconnectionTime,
      retryAfter: error.retryAfter,
      sinceOpen: openedAt === undefined ? undefined : performance.now() - openedAt,
    }
    const { delay, source } = delayOf(reconnect, occasion, Math.random)
    this.#user.announce('retry', { ...this.about, attempt: next, delay, source, error })
    this.#throwIfStopped()
    await this.#sleep(delay)
    if (this.#unheard) await this.#roomForMore()
  }

  #sleep(delay: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delay)
      this.#endDelay = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Waits until the reader has room: to open connections that nobody reads is of no use to anybody. */
  async #roomForMore(): Promise<void> {
    this.#unheard = false
    while (this.#paused && !this.#isStopped()) {
      await new Promise<void>((resolve) => {
        this.#onResume = resolve
      })
    }
  }

  #isStopped(): boolean {
    return this.#state === 'ended'
  }

  /** After each wait: nothing that was waited for is of use any more. */
  #throwIfStopped(): void {
    if (this.#isStopped()) throw new Error('stopped')
  }

  async #shallRetry(error: SseError, attempts: number): Promise<boolean> {
    const { reconnect, tracker } = this.#options
    const { passedOn } = this.#user
    const retryable = isRetryable(error, passedOn)
    if (!reconnect.shouldRetry) return retryable
    const { lastEventId, cursor } = tracker
    return reconnect.shouldRetry(error, { attempts, passedOn, lastEventId, cursor, retryable })
  }
}

function nameOf(url: string | undefined): string | undefined {
  return url && redactUrl(url)
}
