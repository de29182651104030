import { Transform } from 'node:stream'
import { announce, type DuplicateMessage, nextStreamId } from '../diagnostics.ts'
import { asError, shown } from '../errors.ts'
import type { SseEvent } from '../wire/event.ts'
import { EventTracker } from './tracker.ts'

/**
 * A Transform from {@link SseEvent}s to {@link SseEvent}s that drops repeats: it emits `duplicate` for each, and
 * announces it on `resilient-sse:duplicate`; `tracker.duplicates` counts them.
 *
 * With the tracker of a source that was made with `dedupe: false` it looks for repeats when that source has
 * reconnected; with one of its own (the default) it looks always, as behind two merged upstreams.
 *
 * @throws `TypeError` when `tracker` is no {@link EventTracker}.
 */
export function createDedupe(tracker: EventTracker = new EventTracker()): Transform {
  if (!(tracker instanceof EventTracker)) {
    throw new TypeError(`tracker must be an EventTracker, got ${shown(tracker)}`)
  }
  const id = nextStreamId()
  return new Transform({
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
}
