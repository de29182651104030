import { joinedForMany } from '../http/shared-chunk.ts'
import { type EventsEntry, type Position, positionOf } from './store.ts'

/**
 * The most bytes of events that are appended, or passed to a reader, at once, unless one event is larger. With its frame, such a
 * chunk of a response is less than 64 kB (64,000 bytes), which a client that does not read may cost.
 */
export const pageSize = 63_900

/** Events that are written at once. */
export interface Page {
  readonly bytes: Buffer
  /** The position after the last event. */
  readonly end: Position
  /** Whether events of the upstream may be missing before these. */
  readonly gap?: boolean | undefined
}

/**
 * Joins the events of several entries, to be written to many clients.
 *
 * @param skip - The number of bytes to leave out at the start of the first entry.
 */
export function joinedBytes(entries: readonly EventsEntry[], skip: number): Buffer {
  return joinedForMany(entries.map(({ bytes }, index) => (index === 0 ? bytes.subarray(skip) : bytes)))
}

/** The page that entries make: of one entry, that entry's own bytes. Parameters as those of {@link joinedBytes}. */
export function pageOf(entries: readonly EventsEntry[], skip: number): Page {
  const [first] = entries
  const gap = skip === 0 && first?.gap === true
  if (first && entries.length === 1)
    return { bytes: skip === 0 ? first.bytes : first.bytes.subarray(skip), end: positionOf(first), gap }
  const last = entries.at(-1)
  return {
    bytes: joinedBytes(entries, skip),
    end: last ? positionOf(last) : { epoch: 0, seq: 0 },
    gap,
  }
}

/** The number of bytes at the start of an entry that hold the events up to a position. */
export function passedBytes(entry: EventsEntry, after: Position): number {
  const events = entry.epoch === after.epoch ? after.seq - entry.first + 1 : 0
  let start = 0
  // The hub writes each event with one blank line, which is its end.
  for (let passed = 0; passed < events; passed++) start = entry.bytes.indexOf('\n\n', start) + 2
  return start
}
