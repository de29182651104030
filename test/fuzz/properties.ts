import type { IRawProperty } from 'fast-check'
import { anyConnections } from './connections.ts'
import { anyFaults } from './faults.ts'
import { configurations, contentTypes, lastEventIds, retryAfters } from './inputs.ts'
import { readBodies } from './read-bodies.ts'
import { dedupes, trackers } from './repeats.ts'
import { sharedLogs } from './shared-log.ts'
import { shortAnswers } from './short-answers.ts'
import { anyBytesAtAll, parseOfSerialize, refusedBySerialize, serializeThroughSource } from './wire.ts'
import { writtenChunks } from './written-chunks.ts'

interface Named {
  readonly name: string
  readonly property: IRawProperty<unknown>
  /** The property's share of the cases, in percent. */
  readonly runs: number
}

/** The properties that must hold for any input. The expected results come from the model in `support/model.ts`. */
export const properties: readonly Named[] = [
  { name: 'parse-of-serialize-is-the-identity', property: parseOfSerialize, runs: 16 },
  { name: 'serialize-refuses-just-what-no-wire-can-hold', property: refusedBySerialize, runs: 6 },
  { name: 'serialized-events-come-out-of-a-source', property: serializeThroughSource, runs: 8 },
  { name: 'any-bytes-are-read-as-the-standard-says', property: anyBytesAtAll, runs: 20 },
  { name: 'any-connections-pass-each-event-once-in-order', property: anyConnections, runs: 6 },
  { name: 'any-faults-end-in-one-close-and-nothing-after', property: anyFaults, runs: 4 },
  { name: 'last-event-ids-survive-a-header-and-a-query', property: lastEventIds, runs: 7 },
  { name: 'retry-after-is-a-delay-within-the-limits', property: retryAfters, runs: 5 },
  { name: 'content-types-are-compared-by-their-essence', property: contentTypes, runs: 5 },
  { name: 'configurations-are-usable-or-named-errors', property: configurations, runs: 4 },
  { name: 'dedupe-agrees-with-a-list', property: dedupes, runs: 5 },
  { name: 'readers-of-a-shared-log-agree-with-a-list', property: sharedLogs, runs: 3 },
  { name: 'own-reads-are-those-of-node-http', property: readBodies, runs: 2 },
  { name: 'short-answers-are-those-of-node-http', property: shortAnswers, runs: 2 },
  { name: 'own-chunks-are-those-of-node-http', property: writtenChunks, runs: 2 },
  { name: 'tracker-agrees-with-a-list', property: trackers, runs: 5 },
]

/** The property's share of `cases`, rounded up. */
export const shareOf = ({ runs }: Named, cases: number): number => Math.ceil((cases * runs) / 100)
