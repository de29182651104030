import { BlockScanner } from './blocks.ts'

/** What is known of blocks without reading them event by event. */
export interface Skimmed {
  /** How many of them have data. */
  readonly events: number
  /** Where the value of the last id in them starts; 0 when there is none. */
  readonly idStart: number
  /** Where it ends; 0 when there is none. */
  readonly idEnd: number
}

/** @returns undefined when the blocks have to be read: see {@link BlockScanner.mustRead}. */
export function skim(blocks: Buffer): Skimmed | undefined {
  const scanner = new BlockScanner(blocks.length)
  scanner.push(blocks)
  const run = scanner.next()
  const { events, idStart, idEnd, mustRead } = scanner
  // Shorter without the byte order mark that the scanner drops.
  if (run?.length !== blocks.length || mustRead) return undefined
  return { events, idStart: Math.max(idStart, 0), idEnd: Math.max(idEnd, 0) }
}
