import { isIdempotent } from '../http/dialer.ts'
import type { ResumeMode } from './options.ts'

/** What the option `resume` means for a stream, given the method of its requests. */
export class ResumePolicy {
  readonly #mode: ResumeMode
  /** Whether the request is sent again only when it is known not to have been processed (RFC 9110, 9.2.2). */
  readonly isSentOnce: boolean

  /** @param mode - Undefined: by the method. */
  constructor(mode: ResumeMode | undefined, method = 'GET') {
    const isRepeatable = isIdempotent(method)
    this.#mode = mode ?? (isRepeatable ? 'always' : 'before-first-event')
    this.isSentOnce = !isRepeatable && this.#mode === 'before-first-event'
  }

  /** Whether a single connection is read to its end, without a retry. */
  get isNever(): boolean {
    return this.#mode === 'never'
  }

  /** Whether bytes are passed on as they come: what answers a request that is sent once belongs to its client. */
  get isVerbatim(): boolean {
    return this.isNever || this.isSentOnce
  }

  /** Whether the request may be made again after the stream's first event. */
  get isRepeatable(): boolean {
    return this.#mode === 'always' || this.#mode === 'with-cursor'
  }

  /** Whether a clean end of a connection may be followed by another one, from a cursor. */
  outlivesEnd(cursor: string | undefined): boolean {
    return this.#mode !== 'with-cursor' || cursor !== undefined
  }

  /** Whether the stream may go on with another connection, after so many events, from a cursor. */
  allows(events: number, cursor: string | undefined): boolean {
    if (this.isNever) return false
    if (events === 0) return !this.isSentOnce
    return this.#mode === 'with-cursor' ? cursor !== undefined : this.#mode === 'always'
  }
}
