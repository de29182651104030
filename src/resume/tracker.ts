import { shown } from '../errors.ts'
import { isWireId } from '../http/fields.ts'
import { checkOptions, count, type Kind, type OptionsOf, text, withDefault } from '../options.ts'
import type { SseEvent } from '../wire/event.ts'
import { FingerprintWindow, fingerprintOf, largestWindow } from './window.ts'

/**
 * When two events are the same: `'id+data'`, equal id, type and data; `'id'`, equal ids, for upstreams that render an event
 * anew each time they send it; or a function that returns a key (`undefined`: the event is never a duplicate).
 *
 * @example
 * ```ts
 * import { type EventIdentity, EventTracker } from 'resilient-sse'
 *
 * const identity: EventIdentity = ({ id, event }) => id && `${id} ${event}`
 * const tracker = new EventTracker({ identity })
 * ```
 */
export type EventIdentity = 'id+data' | 'id' | ((event: SseEvent) => string | undefined)

/** The kind of option that says when two events are the same. */
export const eventIdentity: Kind<EventIdentity> = {
  text: { placeholder: 'id|id+data', parse: (text) => text },
  check(value, name) {
    if (value === 'id+data' || value === 'id' || typeof value === 'function') return value
    throw new TypeError(`${name} must be 'id+data', 'id' or a function, got ${shown(value)}`)
  },
}

/** The kind of option that says how many of the latest events are compared with. */
export const windowSizeKind: Kind<number> = count(1, largestWindow)

const wireId: Kind<string> = {
  check(value, name) {
    const id = text.check(value, name)
    if (isWireId(id)) return id
    throw new RangeError(`${name} must not hold CR, LF or NUL, got ${shown(id)}`)
  },
}

const trackerOptions = {
  /** The number of latest events that repeats are detected among; a whole number from 1 to 8388608. Default 1000. */
  windowSize: withDefault(windowSizeKind, 1000),
  /** The last event ID that the reader already has. Default `''`: no id. */
  lastEventId: withDefault(wireId, ''),
  /** When two events are the same. Default `'id+data'`. */
  identity: withDefault(eventIdentity, 'id+data'),
}

/**
 * Options of an {@link EventTracker}.
 *
 * @example
 * ```ts
 * import { EventTracker, type EventTrackerOptions } from 'resilient-sse'
 *
 * const options: EventTrackerOptions = { windowSize: 5000, identity: 'id' }
 * const tracker = new EventTracker(options)
 * ```
 */
export interface EventTrackerOptions extends OptionsOf<typeof trackerOptions> {}

/**
 * Stores what a stream has passed on: the last event ID, the cursor, and a fingerprint of each of the latest events.
 *
 * A tracker belongs to one stream of events. Two clients may share a tracker only if each of them may see all events that
 * the other sees.
 *
 * @example
 * ```ts
 * import { EventTracker } from 'resilient-sse'
 *
 * const tracker = new EventTracker({ lastEventId: '41' })
 * tracker.accept({ id: '42', data: 'hello' })
 * tracker.lastEventId // '42'
 * ```
 */
export class EventTracker {
  readonly #windowSize: number
  readonly #identity: EventIdentity
  #lastEventId: string
  #cursor: string | undefined
  #duplicates = 0
  readonly #window: FingerprintWindow
  /** How many more events are looked up; Infinity until {@link opened} is called. */
  #lookUps = Number.POSITIVE_INFINITY

  /** @throws `TypeError` or `RangeError` that names a wrong or unknown option. */
  constructor(options: EventTrackerOptions = {}) {
    const { windowSize, lastEventId, identity } = checkOptions(trackerOptions, options)
    this.#windowSize = windowSize
    this.#identity = identity
    this.#lastEventId = lastEventId
    this.#window = new FingerprintWindow(windowSize)
    this.#window.lookUpAlways()
  }

  /** The last event ID of the events that were passed on; `''` without one. */
  get lastEventId(): string {
    return this.#lastEventId
  }

  /** Where to resume: the latest cursor given to {@link advance}, or else the last event ID; `undefined` when unknown. */
  get cursor(): string | undefined {
    return this.#cursor ?? (this.#lastEventId === '' ? undefined : this.#lastEventId)
  }

  /** How many duplicates {@link accept} has found. */
  get duplicates(): number {
    return this.#duplicates
  }

  /**
   * Reports that a new connection is open. The tracker then looks for repeats among the next `windowSize` events, but not on
   * the first connection of a new tracker. A tracker on which this is never called always looks for repeats.
   */
  opened(): void {
    const isFirst = this.#lookUps === Number.POSITIVE_INFINITY && this.#window.isEmpty
    this.#lookUps = isFirst ? 0 : this.#windowSize
    if (isFirst) this.#window.stopLookUps()
    else this.#window.lookUpOnce()
  }

  /**
   * Whether the tracker currently looks for repeats.
   *
   * @internal
   */
  get looksUp(): boolean {
    return this.#lookUps > 0
  }

  /**
   * Reports that events were passed on without {@link accept}. The events before them leave the window.
   *
   * @internal
   */
  skipped(): void {
    this.#window.skip()
  }

  /**
   * Whether an event was passed on before, within the window. Does not change the tracker.
   *
   * @throws `TypeError` when a field, or the key that `identity` returns, is not a string.
   */
  isDuplicate(event: SseEvent): boolean {
    if (!this.looksUp) return false
    const key = this.#keyOf(event)
    return key !== undefined && this.#window.has(key)
  }

  /**
   * Whether an event is fresh. A fresh event is added to the window; any other is counted in {@link duplicates}.
   *
   * @throws `TypeError` when a field, or the key that `identity` returns, is not a string.
   */
  accept(event: SseEvent): boolean {
    const key = this.#keyOf(event)
    if (key !== undefined && this.looksUp && this.#window.has(key)) {
      this.#duplicates++
      return false
    }
    if (key !== undefined) this.#window.add(key)
    // Events without an identity count too: otherwise look-ups would never stop in a stream without ids.
    if (this.#lookUps > 0 && --this.#lookUps === 0) this.#window.stopLookUps()
    return true
  }

  /**
   * Moves the last event ID to that of a finished block: an event without an id leaves it unchanged, an empty id clears it
   * (HTML, 9.2.6).
   *
   * @param cursor - Where to resume after this event, if not from its last event ID; undefined keeps the previous cursor.
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
    // Without its own id an event cannot be told from another event with the same content.
    if (id === undefined || id === '') return undefined
    // A block without data must differ from an event with the same id; an event type cannot contain a line end.
    if (data === undefined) return fingerprintOf([id, '\n'])
    return identity === 'id' ? fingerprintOf([id]) : fingerprintOf([id, type === '' ? 'message' : type, data])
  }
}

/** Untyped callers may pass any value, and all numbers would have the same fingerprint. */
function checkText(name: keyof SseEvent, value: unknown): void {
  if (value !== undefined && typeof value !== 'string') {
    throw new TypeError(`event.${name} must be a string, got ${shown(value)}`)
  }
}

/** Copies an id: a slice of a chunk would keep the whole chunk in memory. */
function detached(id: string): string {
  // V8 copies slices of fewer than 13 code units.
  return id.length < 13 ? id : ` ${id}`.slice(1)
}
