import type { Step } from './shared-client.ts'
import type { StoredEvent } from './shared-store.ts'

/** How what a client has seen differs from the log. */
export interface Differences {
  delivered: number
  lost: number
  twice: number
  damaged: number
  /** What is wrong, for people. */
  readonly notes: string[]
}

/** What was stored, for comparison with what clients have seen. */
export class StoredLog {
  readonly #events: readonly StoredEvent[]
  /** The index of each event, by its position. */
  readonly #index = new Map<string, number>()
  readonly #places: { readonly epoch: number; readonly seq: number }[] = []

  constructor(events: readonly StoredEvent[]) {
    this.#events = events
    for (const [index, { id }] of events.entries()) {
      this.#index.set(positionIn(id), index)
      this.#places.push(placeOf(id))
    }
  }

  /**
   * Compares the steps of a client: each event once and in order, and no event missing except at a gap, if the log does not keep
   * every event.
   *
   * @param fromStart - Whether the client wants the log from its first event on.
   */
  compare(steps: readonly Step[], fromStart: boolean, mayTrim: boolean): Differences {
    const result: Differences = { delivered: 0, lost: 0, twice: 0, damaged: 0, notes: [] }
    // The index of the event that the client has had last; undefined while any event may come next.
    let at = fromStart ? -1 : undefined
    let isGap = false
    const moveTo = (index: number, step: Step) => {
      if (at !== undefined && index !== at && !(index > at && isGap && mayTrim)) {
        if (index > at) result.lost += index - at
        else result.damaged++
        result.notes.push(
          `from ${at} to ${index} of ${this.#events.length} at ${JSON.stringify(step).slice(0, 100)}`,
        )
      }
      at = index
    }
    for (const [n, step] of steps.entries()) {
      if (step.what === 'gap') isGap = true
      if (step.what === 'id') {
        const next = steps[n + 1]
        if (next?.what === 'event' && next.id === step.id) continue
        moveTo(this.#indexUpTo(step.id), step)
      }
      if (step.what === 'end' && at !== undefined) moveTo(this.#events.length - 1, step)
      if (step.what !== 'event') continue
      const index = this.#index.get(positionIn(step.id ?? ''))
      const event = index === undefined ? undefined : this.#events[index]
      if (index === undefined || !event || !isSame(event, step)) {
        result.damaged++
      } else if (at !== undefined && index <= at) {
        result.twice++
      } else {
        moveTo(index - 1, step)
        at = index
        isGap = false
        result.delivered++
      }
    }
    return result
  }

  /** The index of the last event up to a place. */
  #indexUpTo(id: string): number {
    const { epoch, seq } = placeOf(id)
    return this.#places.findLastIndex(
      (place) => place.epoch < epoch || (place.epoch === epoch && place.seq <= seq),
    )
  }
}

/** The part of a hub's id before the upstream's own id. */
function positionIn(id: string): string {
  return id.split('/', 1)[0] ?? ''
}

function placeOf(id: string) {
  const [epoch = Number.NaN, seq = Number.NaN] = positionIn(id).split('-').map(Number)
  return { epoch, seq }
}

function isSame(stored: StoredEvent, { id, event, data }: Step & { readonly what: 'event' }): boolean {
  const typeOf = (name: string | undefined) => name || 'message'
  return stored.id === id && stored.data === data && typeOf(stored.event) === typeOf(event)
}
