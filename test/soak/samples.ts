import { tolerance, warmUp } from './options.ts'

/** The memory of a process that is at work, after collection. */
export interface Sample extends NodeJS.MemoryUsage {
  /** How much of the run was over, from 0 to 1. */
  readonly at: number
  /** Sources in memory whose relays are closed. */
  readonly closedSources: number
}

/** How much a figure grew. */
export interface Trend {
  readonly what: string
  readonly first: number
  readonly last: number
  /** The growth, as a share of the first value. */
  readonly growth: number
  readonly isFlat: boolean
}

/**
 * Compares the median of the first third of the samples after the warm-up with that of the last third. A median does not
 * care how many relays were just starting, or full, at the time of one sample.
 */
export function trendsOf(samples: readonly Sample[]): Trend[] {
  return [
    trend('heap', samples, ({ heapUsed }) => heapUsed),
    trend('heap and external', samples, ({ heapUsed, external }) => heapUsed + external),
  ]
}

/** The median of the last third. */
export function closedSourcesOf(samples: readonly Sample[]): number {
  return median(thirdsOf(samples).last.map(({ closedSources }) => closedSources))
}

function trend(what: string, samples: readonly Sample[], value: (sample: Sample) => number): Trend {
  const thirds = thirdsOf(samples)
  const first = median(thirds.first.map(value))
  const last = median(thirds.last.map(value))
  const growth = last / first - 1
  return { what, first, last, growth, isFlat: growth <= tolerance }
}

function thirdsOf(samples: readonly Sample[]) {
  const warm = samples.filter(({ at }) => at > warmUp)
  const third = Math.max(1, Math.floor(warm.length / 3))
  return { first: warm.slice(0, third), last: warm.slice(-third) }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2
}
