import { getDefaultHighWaterMark, type Transform } from 'node:stream'
import { announce, type DuplicateMessage, nextStreamId } from '../diagnostics.ts'
import { shown } from '../errors.ts'
import type { SseEvent } from '../wire/event.ts'
import { EventStage } from '../wire/event-stage.ts'
import { EventTracker } from './tracker.ts'

/** How much may wait for the reader, in code units: as much as other streams hold in bytes. */
const mostWaiting = getDefaultHighWaterMark(false)

/** An event takes some memory besides its text. */
function sizeOf({ id = '', event = '', data = '' }: SseEvent): number {
  return 32 + id.length + event.length + data.length
}

class Dedupe extends EventStage<boolean> {
  readonly #id = nextStreamId()
  readonly #tracker: EventTracker
  /** The size of the events that have been yielded since the reader last had all of them. */
  #waiting = 0

  constructor(tracker: EventTracker) {
    super({ objectMode: true })
    this.#tracker = tracker
  }

  /**
   * By size, because a chunk of the upstream may have hundreds of events: with each pause for the reader, they would reach the
   * client in as many parts. Stays full until the reader has all, for the same reason.
   */
  protected get isFull(): boolean {
    return this.#waiting >= mostWaiting && this.readableLength > 0
  }

  protected check(event: SseEvent): boolean {
    return this.#tracker.accept(event)
  }

  protected pass(event: SseEvent, isFresh: boolean): void {
    if (!isFresh) {
      this.#announce(event)
      return
    }
    if (this.readableLength === 0) this.#waiting = 0
    this.#waiting += sizeOf(event)
    this.push(event)
  }

  #announce(event: SseEvent): void {
    const message: DuplicateMessage = {
      id: this.#id,
      stream: this,
      name: undefined,
      upstream: undefined,
      event,
    }
    announce('duplicate', message)
    this.emit('duplicate', message)
  }
}

/**
 * Makes a Transform of {@link SseEvent}s that drops repeats. For each repeat it emits `duplicate` and announces a message
 * on `resilient-sse:duplicate`; `tracker.duplicates` counts them. An event that is not valid fails the Transform with the
 * `TypeError` of {@link EventTracker.accept}.
 *
 * @param tracker - The tracker of a source with `dedupe: false`: the Transform then looks for repeats after that source
 * has reconnected. Default: a new tracker, which always looks for repeats, as after two merged upstreams.
 * @throws `TypeError` when `tracker` is not an {@link EventTracker}.
 *
 * @example
 * ```ts
 * import { pipeline } from 'node:stream/promises'
 * import { createDedupe, createResilientSseSource, createSerializer, EventTracker, httpUpstream } from 'resilient-sse'
 *
 * const tracker = new EventTracker()
 * const upstream = httpUpstream('http://localhost:3000/events')
 * await pipeline(
 *   createResilientSseSource(upstream, { objectMode: true, dedupe: false, tracker }),
 *   createDedupe(tracker),
 *   createSerializer(),
 *   process.stdout,
 * )
 * ```
 */
export function createDedupe(tracker: EventTracker = new EventTracker()): Transform {
  if (!(tracker instanceof EventTracker)) {
    throw new TypeError(`tracker must be an EventTracker, got ${shown(tracker)}`)
  }
  return new Dedupe(tracker)
}
