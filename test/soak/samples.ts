import { tolerance, warmUp } from './options.ts'

/** The memory of the running process after a garbage collection. */
export interface Sample extends NodeJS.MemoryUsage {
  /** The finished share of the run, from 0 to 1. */
  readonly at: number
  /** Sources of closed relays that are in memory. */
  readonly closedSources: number
}

/** The growth of one figure. */
export interface Trend {
  readonly what: string
  readonly first: number
  readonly last: number
  /** The growth, as a share of the first value. */
  readonly growth: number
  readonly isFlat: boolean
}

/**
 * Compares the medians of the first and the last third of the samples after the warm-up. A median is not affected by a single
 * sample at which many relays were starting or full.
 */
export function trendsOf(samples: readonly Sample[]): Trend[] {
  return [
    trend('heap', samples, ({ heapUsed }) => heapUsed),
    trend('heap and external', samples, ({ heapUsed, external }) => heapUsed + external),
  ]
}

/** The median of the sources of closed relays in the last third of the samples. */
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
