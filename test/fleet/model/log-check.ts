import { createParser } from 'eventsource-parser'
import { comparePositions, type Entry, type Position, positionOf } from '../../../src/hub/store.ts'
import type { StoredEvent } from '../../chaos/shared-store.ts'

/** The events of a log, as clients get them. */
export function eventsOf(entries: readonly Entry[]): StoredEvent[] {
  const events: StoredEvent[] = []
  const parser = createParser({
    onEvent: ({ id = '', event, data }) => void events.push({ id, event, data }),
  })
  for (const entry of entries) if (entry.kind === 'events') parser.feed(entry.bytes.toString())
  return events
}

/**
 * What is wrong with a log whose upstream has published numbered events: epochs that interleave, positions that are missing, and events
 * of the upstream that are missing, repeated or in another order.
 */
export function faultsInLog(entries: readonly Entry[], dataOf: (n: number) => string): string[] {
  const faults: string[] = []
  let before: Position | undefined
  for (const entry of entries) {
    const position = positionOf(entry)
    const name = `${position.epoch}-${position.seq}`
    if (before && comparePositions(position, before) <= 0) faults.push(`${name} does not rise`)
    if (entry.kind === 'events') {
      const isNext = before?.epoch === entry.epoch && entry.first === before.seq + 1
      if (!isNext) faults.push(`the entry up to ${name} follows ${before?.epoch}-${before?.seq}`)
    } else if (entry.kind === 'open' || entry.previous) {
      // Each later epoch knows all of the earlier one.
      const { previous } = entry
      if (previous?.epoch !== before?.epoch || previous?.seq !== before?.seq)
        faults.push(
          `${entry.kind} ${name} follows ${before?.epoch}-${before?.seq}, and says ${previous?.seq}`,
        )
    }
    before = position
  }
  for (const [n, { id, data }] of eventsOf(entries).entries()) {
    if (data === dataOf(n + 1)) continue
    faults.push(`event ${n + 1} of the log is ${data}, with the id ${id}`)
    break
  }
  return faults
}
