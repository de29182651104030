import { SseError } from '../errors.ts'
import { isIdempotent } from '../http/dialer.ts'
import type { Drop } from '../upstream/connection.ts'
import type { LastingOptions, ResumeMode } from './options.ts'

/** The decisions that follow from the option `resume` and the method of the requests. */
export class ResumePolicy {
  readonly #mode: ResumeMode
  /** Whether the request is sent again only when it is known not to have been processed (RFC 9110, 9.2.2). */
  readonly isSentOnce: boolean

  /** @param mode - Undefined: the method decides. */
  constructor(mode: ResumeMode | undefined, method = 'GET') {
    const isRepeatable = isIdempotent(method)
    this.#mode = mode ?? (isRepeatable ? 'always' : 'before-first-event')
    this.isSentOnce = !isRepeatable && this.#mode === 'before-first-event'
  }

  /** Whether a single connection is read to its end, without a retry. */
  get isNever(): boolean {
    return this.#mode === 'never'
  }

  /** Whether bytes are passed on unchanged: the response to a request that is sent once belongs to the client. */
  get isVerbatim(): boolean {
    return this.isNever || this.isSentOnce
  }

  /** Whether the request may be sent again after the stream's first event. */
  get isRepeatable(): boolean {
    return this.#mode === 'always' || this.#mode === 'with-cursor'
  }

  /**
   * What a lost connection means for the stream.
   *
   * @param events - The number of events that the stream has passed on.
   * @returns `'ended'` when the stream is complete; otherwise the error that another attempt may mend. With
   * `ERR_SSE_NOT_RESUMABLE` no attempt may follow.
   */
  resultOf(
    { reason, error }: Drop,
    events: number,
    cursor: string | undefined,
    { isTerminal, endWithoutTerminal }: Pick<LastingOptions, 'isTerminal' | 'endWithoutTerminal'>,
  ): 'ended' | SseError {
    const canResume = this.#allows(events, cursor)
    const isComplete = isTerminal === undefined || endWithoutTerminal === 'end'
    if (reason === 'end' && isComplete && !(canResume && this.#outlivesEnd(cursor))) return 'ended'
    if (canResume || this.isNever) return error
    const why = 'the stream cannot be resumed after its first event'
    return new SseError('ERR_SSE_NOT_RESUMABLE', `${why}: ${error.message}`, { cause: error })
  }

  /** Whether the stream may reconnect after a clean end, with this cursor. */
  #outlivesEnd(cursor: string | undefined): boolean {
    return this.#mode !== 'with-cursor' || cursor !== undefined
  }

  /** Whether the stream may reconnect after a drop. */
  #allows(events: number, cursor: string | undefined): boolean {
    if (this.isNever) return false
    if (events === 0) return !this.isSentOnce
    return this.#mode === 'with-cursor' ? cursor !== undefined : this.#mode === 'always'
  }
}
