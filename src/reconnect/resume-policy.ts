import { isIdempotent } from '../http/dialer.ts'
import type { ResumeMode } from './options.ts'

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

  /** Whether the stream may reconnect after a clean end, with this cursor. */
  outlivesEnd(cursor: string | undefined): boolean {
    return this.#mode !== 'with-cursor' || cursor !== undefined
  }

  /**
   * Whether the stream may reconnect after a drop.
   *
   * @param events - The number of events that the stream has passed on.
   */
  allows(events: number, cursor: string | undefined): boolean {
    if (this.isNever) return false
    if (events === 0) return !this.isSentOnce
    return this.#mode === 'with-cursor' ? cursor !== undefined : this.#mode === 'always'
  }
}
