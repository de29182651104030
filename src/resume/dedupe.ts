import { Transform } from 'node:stream'
import { announce, type DuplicateMessage, nextStreamId } from '../diagnostics.ts'
import { asError, shown } from '../errors.ts'
import type { SseEvent } from '../wire/event.ts'
import { withoutLateData } from '../wire/late-data.ts'
import { EventTracker } from './tracker.ts'

/**
 * Makes a Transform of {@link SseEvent}s that drops repeats. For each repeat it emits `duplicate` and announces a message
 * on `resilient-sse:duplicate`; `tracker.duplicates` counts them. An event that is not valid fails the Transform with the
 * `TypeError` of {@link EventTracker.accept}.
 *
 * @param tracker - The tracker of a source with `dedupe: false`: the Transform then looks for repeats after that source
 * has reconnected. Default: a new tracker, which always looks for repeats, as after two merged upstreams.
 * @throws `TypeError` when `tracker` is not an {@link EventTracker}.
 */
export function createDedupe(tracker: EventTracker = new EventTracker()): Transform {
  if (!(tracker instanceof EventTracker)) {
    throw new TypeError(`tracker must be an EventTracker, got ${shown(tracker)}`)
  }
  const id = nextStreamId()
  const dedupe = new Transform({
    objectMode: true,
    transform(event: SseEvent, _, callback) {
      let fresh: boolean
      try {
        fresh = tracker.accept(event)
      } catch (error) {
        callback(asError(error))
        return
      }
      if (fresh) {
        callback(null, event)
        return
      }
      const message: DuplicateMessage = { id, stream: this, name: undefined, upstream: undefined, event }
      announce('duplicate', message)
      this.emit('duplicate', message)
      callback()
    },
  })
  return withoutLateData(dedupe)
}
