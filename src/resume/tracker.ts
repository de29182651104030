import { shown } from '../errors.ts'
import { isWireId } from '../http/fields.ts'
import type { SseEvent } from '../wire/event.ts'
import { FingerprintWindow, fingerprintOf, largestWindow } from './window.ts'

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

/**
 * Remembers what was passed on: the last event ID, the cursor, and a fingerprint of each of the latest events.
 *
 * A tracker belongs to one stream of events, and to those who may see all of it: two clients share one only if each may
 * see what the other sees.
 */
export class EventTracker {
  readonly #windowSize: number
  readonly #identity: EventIdentity
  #lastEventId: string
  #cursor: string | undefined
  #duplicates = 0
  readonly #window: FingerprintWindow
  /** How many more events are looked up; Infinity for a tracker that no source calls {@link opened} on. */
  #lookUps = Number.POSITIVE_INFINITY

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
    this.#window = new FingerprintWindow(windowSize)
    this.#window.lookUpAlways()
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
   * Says that a new connection is open. From now on repeats are looked for until as many events have come as the window
   * holds, and then no more until the next call. A tracker on which this is never called always looks.
   */
  opened(): void {
    const isFirst = this.#lookUps === Number.POSITIVE_INFINITY && this.#window.isEmpty
    this.#lookUps = isFirst ? 0 : this.#windowSize
    if (isFirst) this.#window.stopLookUps()
    else this.#window.lookUpOnce()
  }

  /**
   * Whether repeats are looked for now.
   *
   * @internal
   */
  get looksUp(): boolean {
    return this.#lookUps > 0
  }

  /**
   * Says that events were passed on that nobody will ever accept: what is remembered by now is no part of the window any
   * more.
   *
   * @internal
   */
  skipped(): void {
    this.#window.skip()
  }

  /** Whether an event was passed on before, within the window. Remembers nothing. */
  isDuplicate(event: SseEvent): boolean {
    if (!this.looksUp) return false
    const key = this.#keyOf(event)
    return key !== undefined && this.#window.has(key)
  }

  /**
   * Whether an event is fresh. A fresh event is remembered, any other is counted as a duplicate.
   *
   * @throws `TypeError` for a field, or a key of the caller's, that is no string.
   */
  accept(event: SseEvent): boolean {
    const key = this.#keyOf(event)
    if (key !== undefined && this.looksUp && this.#window.has(key)) {
      this.#duplicates++
      return false
    }
    if (key !== undefined) this.#window.add(key)
    // Events without an identity count as well: a stream without ids would otherwise be looked at for ever.
    if (this.#lookUps > 0 && --this.#lookUps === 0) this.#window.stopLookUps()
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
      return fingerprintOf([key])
    }
    // Without an id of its own nothing tells an event from another one that looks alike.
    if (id === undefined || id === '') return undefined
    // A block with an id alone is not the event of that id; no type holds a line end.
    if (data === undefined) return fingerprintOf([id, '\n'])
    return identity === 'id' ? fingerprintOf([id]) : fingerprintOf([id, type === '' ? 'message' : type, data])
  }
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
