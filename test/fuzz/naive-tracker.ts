import type { EventIdentity, SseEvent } from '../../src/index.ts'

/** A model of EventTracker, with a plain list of all events. */
export class NaiveTracker {
  readonly #windowSize: number
  readonly #identity: EventIdentity
  readonly #passedOn: string[] = []
  /** Where the window starts. After `opened` the start stays fixed until `windowSize` events were looked up. */
  #from = 0
  /** How many more events are looked up; Infinity before the first connection. */
  #left = Number.POSITIVE_INFINITY
  lastEventId = ''

  constructor(windowSize: number, identity: EventIdentity = 'id+data') {
    this.#windowSize = windowSize
    this.#identity = identity
  }

  opened(): void {
    const { length } = this.#passedOn
    this.#from = Math.max(0, length - this.#windowSize)
    this.#left = this.#left === Number.POSITIVE_INFINITY && length === 0 ? 0 : this.#windowSize
  }

  isDuplicate(event: SseEvent): boolean {
    const { length } = this.#passedOn
    if (this.#left === Number.POSITIVE_INFINITY) this.#from = Math.max(0, length - this.#windowSize)
    const key = this.#keyOf(event)
    return this.#left > 0 && key !== undefined && this.#passedOn.includes(key, this.#from)
  }

  accept(event: SseEvent): boolean {
    if (this.isDuplicate(event)) return false
    if (this.#left > 0) this.#left--
    const key = this.#keyOf(event)
    if (key !== undefined) this.#passedOn.push(key)
    return true
  }

  #keyOf(event: SseEvent): string | undefined {
    const { id, event: type, data } = event
    if (typeof this.#identity === 'function' && data !== undefined) {
      const key = this.#identity(event)
      return key === undefined ? undefined : JSON.stringify(['key', key])
    }
    if (id === undefined || id === '') return undefined
    if (data === undefined) return JSON.stringify(['alone', id])
    return JSON.stringify(this.#identity === 'id' ? ['id', id] : ['event', id, type || 'message', data])
  }
}
