import type { KindName } from './relays/kinds.ts'
import type { Spread } from './spread.ts'

/** What was measured of one kind in one workload. */
export interface Figure {
  /** A relay's kind, or what else it is that was measured. */
  readonly kind: KindName | 'parsing alone'
  readonly value: Spread
  /** The value over that of the kind that it is compared with, in the same round. */
  readonly ratio?: Spread
  /** The mean of all its values over the mean of those of the kind that it is compared with. */
  readonly ratioOfMeans?: number
  /** Something to know about it. */
  readonly note?: string
}

/** The figures of one workload, or of one of its variants. */
export interface Result {
  readonly title: string
  /** What the values are. */
  readonly unit: string
  readonly figures: readonly Figure[]
  readonly goal?: Goal | undefined
  /** The kind that the others are compared with. Default: the bare pipe. */
  readonly beside?: KindName
  /** The kind that the goal is set for. Default: the relay of the library. */
  readonly subject?: KindName
}

/** What is asked of the library itself in a workload. */
export interface Goal {
  /** The most that its ratio may be, and should be. */
  readonly mustReach?: number
  readonly aim?: number
  /** The most that its value may be of that of any client library. */
  readonly shareOfClientLibraries?: number
  /** The most that its greatest value may be. */
  readonly greatest?: number
  /** Kinds whose median it must stay below. */
  readonly aheadOf?: readonly KindName[]
  /** The most that the median of its values may be. */
  readonly median?: number
  /** The most that its median may be above that of the kind that it is compared with. */
  readonly added?: number
}

export function figureOf(result: Result, kind: Figure['kind']): Figure | undefined {
  return result.figures.find((figure) => figure.kind === kind)
}
