import type { Log } from './log.ts'
import type { JoinRequest } from './member.ts'
import { parseId } from './position-id.ts'
import type { GapReason } from './reader.ts'
import { beginningOf, comparePositions, continues, type Entry, type Position } from './store.ts'

/** Where a client starts to read. */
export interface Place {
  readonly after: Position
  /** Why events are missing before the client's next event; undefined when no event is missing. */
  readonly gap: GapReason | undefined
}

/** The place of a client for whom the upstream was opened with an empty log. */
export function startOf(start: Position, lastEventId: string): Place {
  const { position, cursor } = parseId(lastEventId)
  // The client has had events of a log that is lost, and the upstream could not be told where to go on.
  return { after: start, gap: position && cursor === undefined ? 'trimmed' : undefined }
}

/**
 * Finds the place of a client in a log that is not empty.
 *
 * @throws {@link SseError} `ERR_SSE_STORE`
 */
export async function findPlace(
  { lastEventId, from }: JoinRequest,
  log: Log,
  read: (from: Position | 'first') => Promise<Entry | undefined>,
): Promise<Place> {
  const { sent } = log
  const latest = { after: sent ?? { epoch: 0, seq: 0 }, gap: undefined }
  if (lastEventId === '') {
    if (from === 'live') return latest
    const oldest = await read('first')
    if (oldest === undefined) return latest
    const isWhole = oldest.kind === 'open' && oldest.previous === undefined
    return { after: beginningOf(oldest), gap: isWhole ? undefined : 'trimmed' }
  }
  const { position } = parseId(lastEventId)
  if (position === undefined || (sent && comparePositions(position, sent) > 0)) {
    const oldest = await read('first')
    return { after: oldest ? beginningOf(oldest) : latest.after, gap: 'unknown-id' }
  }
  if (sent && comparePositions(position, sent) === 0) return { after: position, gap: undefined }
  const next = await read({ epoch: position.epoch, seq: position.seq + 1 })
  if (next && continues(next, position)) return { after: position, gap: undefined }
  return { after: next ? beginningOf(next) : latest.after, gap: 'trimmed' }
}
