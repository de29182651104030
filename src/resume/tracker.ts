import { shown } from '../errors.ts'
import { isWireId } from '../http/fields.ts'
import type { SseEvent } from '../wire/event.ts'

/**
 * What makes two events the same one: id, type and data alike; the id alone (for upstreams that render an event
 * anew each time they send it); or a key of the caller's (`undefined`: never a duplicate).
 */
export type EventIdentity = 'id+data' | 'id' | ((event: SseEvent) => string | undefined)

/** Options of an {@link EventTracker}. */
export interface EventTrackerOptions {
  /** How many of the latest events a repeat is looked for in; a whole number from 1 to 8388608. Default 1000. */
  readonly windowSize?: number | undefined
  /** Where the stream is to start: the last event ID that its reader has. Default: none. */
  readonly lastEventId?: string | undefined
  /** What makes two events the same one. Default `'id+data'`. */
  readonly identity?: EventIdentity | undefined
}

const initialCapacity = 32
const noFingerprints = new Float64Array(0)
/** After a reconnect a Map holds up to two windows, and 2²⁴ is the most that one can hold. */
const largestWindow = 2 ** 23

/**
 * Remembers what was passed on: the last event ID, the cursor, and a fingerprint of each of the latest events.
 *
 * It belongs to one stream of events, and to those who may see all of it: two clients share one only if each may see
 * what the other sees.
 */
export class EventTracker {
  readonly #windowSize: number
  readonly #identity: EventIdentity
  #lastEventId: string
  #cursor: string | undefined
  #duplicates = 0
  /** Whether a source says when connections open. */
  #driven = false
  /** A ring: the fingerprint of the n-th remembered event stands at n modulo the capacity. */
  #ring = noFingerprints
  #remembered = 0
  /** Fingerprint → number of its latest event in the window; there only while look-ups are needed. */
  #index: Map<number, number> | undefined = new Map()
  /** From this number on the window holds only what the live connection brought. */
  #turnedOverAt = Number.POSITIVE_INFINITY
  /** Events before this one are too old, although the ring still has them: others that it never had came after. */
  #oldest = 0

  /** @throws `TypeError` or `RangeError` that names a wrong option. */
  constructor(options: EventTrackerOptions = {}) {
    const { windowSize = 1000, lastEventId = '', identity = 'id+data' } = options
    if (!Number.isInteger(windowSize) || windowSize < 1 || windowSize > largestWindow) {
      throw new RangeError(
        `windowSize must be a whole number from 1 to ${largestWindow}, got ${shown(windowSize)}`,
      )
    }
    if (typeof lastEventId !== 'string') {
      throw new TypeError(`lastEventId must be a string, got ${shown(lastEventId)}`)
    }
    if (!isWireId(lastEventId)) {
      throw new RangeError(`lastEventId must not hold CR, LF or NUL, got ${shown(lastEventId)}`)
    }
    if (identity !== 'id+data' && identity !== 'id' && typeof identity !== 'function') {
      throw new TypeError(`identity must be 'id+data', 'id' or a function, got ${shown(identity)}`)
    }
    this.#windowSize = windowSize
    this.#identity = identity
    this.#lastEventId = lastEventId
  }

  /** The last event ID of what was passed on; `''` when there is none. */
  get lastEventId(): string {
    return this.#lastEventId
  }

  /** Where to resume: what {@link advance} was last given, or else the last event ID; `undefined` when unknown. */
  get cursor(): string | undefined {
    return this.#cursor ?? (this.#lastEventId === '' ? undefined : this.#lastEventId)
  }

  /** How many events {@link accept} took for duplicates. */
  get duplicates(): number {
    return this.#duplicates
  }

  /**
   * Says that a new connection is open. From now on repeats are looked for until the window has turned over, and
   * then no more until the next call; a tracker that is never told looks always.
   */
  opened(): void {
    const first = !this.#driven
    this.#driven = true
    if (first && this.#remembered === 0) {
      this.#turnedOverAt = 0
      this.#index = undefined
    } else {
      this.#turnedOverAt = this.#remembered + this.#windowSize
      this.#index = this.#indexWindow()
    }
  }

  /**
   * Whether repeats are looked for now.
   *
   * @internal
   */
  get looksUp(): boolean {
    return this.#remembered < this.#turnedOverAt
  }

  /**
   * Says that events were passed on that nobody will ever accept: what is remembered by now is no part of the window any
   * more.
   *
   * @internal
   */
  skipped(): void {
    this.#oldest = this.#remembered
  }

  /** Whether an event was passed on before, within the window. Remembers nothing. */
  isDuplicate(event: SseEvent): boolean {
    if (!this.looksUp) return false
    const key = this.#keyOf(event)
    return key !== undefined && this.#has(key)
  }

  /**
   * Whether an event is fresh; it is remembered then, and counted as a duplicate otherwise.
   *
   * @throws `TypeError` for a field, or a key of the caller's, that is no string.
   */
  accept(event: SseEvent): boolean {
    const key = this.#keyOf(event)
    if (key === undefined) return true
    if (this.looksUp) {
      if (this.#has(key)) {
        this.#duplicates++
        return false
      }
    } else {
      this.#index = undefined
    }
    this.#remember(key)
    return true
  }

  /**
   * Moves the last event ID to that of a block that has ended: an event without an id inherits, an empty one clears.
   *
   * @param cursor - Where to resume after this event, if not from its last event ID; absent leaves the cursor.
   * @throws `TypeError` when `cursor` is neither a string nor undefined.
   * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#dispatchMessage | HTML, 9.2.6}
   */
  advance(event: SseEvent, cursor?: string): void {
    if (event.id !== undefined) this.#lastEventId = detached(event.id)
    if (cursor === undefined) return
    if (typeof cursor !== 'string')
      throw new TypeError(`cursor must be a string or undefined, got ${shown(cursor)}`)
    this.#cursor = detached(cursor)
  }

  #has(key: number): boolean {
    return this.#index?.has(key) === true
  }

  #keyOf(event: SseEvent): number | undefined {
    const { id, event: type = '', data } = event
    checkText('id', id)
    checkText('event', type)
    checkText('data', data)
    const identity = this.#identity
    if (typeof identity === 'function' && data !== undefined) {
      const key = identity(event)
      if (key === undefined) return undefined
      if (typeof key !== 'string')
        throw new TypeError(`identity must return a string or undefined, got ${shown(key)}`)
      return fingerprint(key, '', '')
    }
    // Without an id of its own nothing tells an event from another one that looks alike.
    if (id === undefined || id === '') return undefined
    // A block with an id alone is not the event of that id; no type holds a line end.
    if (data === undefined) return fingerprint(id, '\n', '')
    return identity === 'id' ? fingerprint(id, '', '') : fingerprint(id, type === '' ? 'message' : type, data)
  }

  #remember(key: number): void {
    if (this.#remembered === this.#ring.length && this.#ring.length < this.#windowSize) this.#grow()
    const slot = this.#remembered % this.#ring.length
    if (this.#index) {
      if (!this.#driven) this.#forget(this.#remembered - this.#windowSize)
      this.#index.set(key, this.#remembered)
    }
    this.#ring[slot] = key
    this.#remembered++
  }

  /**
   * Takes an event that has left the window off the index. Only where look-ups never end: after a reconnect the old
   * window stays whole until it has turned over, as otherwise each event of a replay that is a little longer than the
   * window would push out the next one just before it comes.
   */
  #forget(n: number): void {
    if (n < 0) return
    const key = this.#ring[n % this.#ring.length]
    if (key !== undefined && this.#index?.get(key) === n) this.#index.delete(key)
  }

  /** Nothing was overwritten before the ring is at its full size, so its order is that of the numbers. */
  #grow(): void {
    const capacity = Math.max(initialCapacity, this.#ring.length * 2)
    const grown = new Float64Array(Math.min(this.#windowSize, capacity))
    grown.set(this.#ring)
    this.#ring = grown
  }

  #indexWindow(): Map<number, number> {
    const index = new Map<number, number>()
    for (let n = Math.max(this.#oldest, this.#remembered - this.#windowSize); n < this.#remembered; n++) {
      const key = this.#ring[n % this.#ring.length]
      if (key !== undefined) index.set(key, n)
    }
    return index
  }
}

/**
 * A 53-bit hash as a number: two multiplicative 32-bit hashes, each part of the key closed with a separator that
 * no code unit is equal to.
 */
function fingerprint(id: string, type: string, data: string): number {
  let a = 0x9e3779b9
  let b = 0x85ebca6b
  for (const part of [id, type, data]) {
    for (let i = 0; i < part.length; i++) {
      const unit = part.charCodeAt(i)
      a = Math.imul(a ^ unit, 0x85ebca77)
      b = Math.imul(b ^ unit, 0xc2b2ae3d)
    }
    a = Math.imul(a ^ 0x10000, 0x85ebca77)
    b = Math.imul(b ^ 0x10000, 0xc2b2ae3d)
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35)
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35)
  return (b >>> 0) * 0x200000 + (a >>> 11)
}

/** A caller without types may give anything; two numbers would have one fingerprint. */
function checkText(name: keyof SseEvent, value: unknown): void {
  if (value !== undefined && typeof value !== 'string') {
    throw new TypeError(`event.${name} must be a string, got ${shown(value)}`)
  }
}

/** A copy: an id cut out of a chunk would keep the whole chunk alive for as long as it is the last one. */
function detached(id: string): string {
  // Below 13 code units V8 copies anyway.
  return id.length < 13 ? id : ` ${id}`.slice(1)
}
