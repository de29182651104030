import type { EventTracker } from '../resume/tracker.ts'
import { BlockReader } from '../wire/reader.ts'
import { pageSize } from './page.ts'
import { parseId } from './position-id.ts'
import type { Retention } from './retention.ts'
import { type Position, positionOf, type StreamStore } from './store.ts'
import type { StoreAccess } from './store-access.ts'

/** What a new run must know of the log before it. */
export interface History {
  /** Whether the log has events. */
  readonly hasEvents: boolean
  /** Where the upstream can be resumed; undefined when unknown. */
  readonly cursor: string | undefined
}

/**
 * Reads the log before a new run: counts its entries for the retention, and adds its events to the tracker, so that events which
 * the upstream repeats are known.
 *
 * @throws {@link SseError} `ERR_SSE_STORE`
 */
export async function readHistory(
  store: StreamStore,
  access: StoreAccess,
  stream: string,
  tracker: EventTracker,
  retention: Retention,
): Promise<History> {
  let hasEvents = false
  let cursor: string | undefined
  const reader = new BlockReader({
    // The id of the hub holds the place of the upstream after the event, which is the event's own id where it has one.
    onEvent: ({ id = '', event, data }) => tracker.accept({ id: parseId(id).cursor, event, data }),
    onComment: () => {},
    onRetry: () => {},
  })
  let from: Position | 'first' = 'first'
  for (;;) {
    const entries = await access.call(() => store.read(stream, from, pageSize))
    for (const entry of entries) {
      if (entry.kind !== 'events') continue
      hasEvents = true
      cursor = entry.cursor
      retention.add(entry)
      reader.read(entry.bytes)
    }
    const last = entries.at(-1)
    if (last === undefined) return { hasEvents, cursor }
    const { epoch, seq } = positionOf(last)
    from = { epoch, seq: seq + 1 }
  }
}
