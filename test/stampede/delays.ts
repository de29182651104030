/** A delay that a stream announced, and the values that determine its bounds. Times in milliseconds. */
export interface AnnouncedDelay {
  readonly attempt: number
  readonly delay: number
  readonly source: 'backoff' | 'retry' | 'retry-after' | 'clean-end'
  /** The upstream's Retry-After; undefined without one. */
  readonly retryAfter: number | undefined
  /** Bounds of how long the previous connection was open. */
  readonly openFor: readonly [least: number, most: number]
}

export interface DelayOptions {
  readonly baseDelay: number
  readonly maxDelay: number
  readonly jitter: number
}

/** The delays of one kind, and their distribution over the range of the jitter. */
export interface Spread {
  readonly kind: string
  readonly count: number
  readonly least: number
  readonly most: number
  /** Delays outside of the documented bounds. */
  readonly outside: number
  /** The number of delays in each tenth of the range of the jitter. */
  readonly tenths: readonly number[]
}

/** The library's default, which sets the tenths of a run without jitter. */
const usualJitter = 0.1
/** Tolerance for rounding, in milliseconds. */
const epsilon = 0.001

interface Range {
  /** The documented bounds. */
  readonly least: number
  readonly most: number
  /** Where the random part starts, and its largest size; a negative size is subtracted. */
  readonly start: number
  readonly size: number
}

/** The documented bounds of a delay, independent of the library's code. */
function rangeOf({ baseDelay, maxDelay, jitter }: DelayOptions, announced: AnnouncedDelay): Range {
  const full = Math.min(maxDelay, baseDelay * 2 ** announced.attempt)
  switch (announced.source) {
    case 'clean-end': {
      const [shortest, longest] = announced.openFor
      const rest = Math.max(0, baseDelay - shortest)
      const size = jitter * baseDelay
      return { least: Math.max(0, baseDelay - longest), most: rest + size, start: rest, size }
    }
    case 'retry-after': {
      const start = announced.retryAfter ?? Number.NaN
      return { least: start, most: start + jitter * full, start, size: jitter * full }
    }
    default:
      return { least: full - jitter * full, most: full, start: full, size: -jitter * full }
  }
}

/** Groups delays by source and attempt. */
export function spreadsOf(options: DelayOptions, delays: readonly AnnouncedDelay[]): Spread[] {
  const groups = new Map<string, AnnouncedDelay[]>()
  for (const announced of delays) {
    const kind = `${announced.source}, attempt ${announced.attempt}`
    groups.set(kind, [...(groups.get(kind) ?? []), announced])
  }
  return [...groups].map(([kind, group]) => spreadOf(options, kind, group))
}

function spreadOf(options: DelayOptions, kind: string, group: readonly AnnouncedDelay[]): Spread {
  const tenths = new Array<number>(10).fill(0)
  let outside = 0
  for (const announced of group) {
    const { least, most } = rangeOf(options, announced)
    if (!(announced.delay >= least - epsilon && announced.delay <= most + epsilon)) outside++
    const { start, size } = rangeOf({ ...options, jitter: options.jitter || usualJitter }, announced)
    const tenth = Math.min(9, Math.max(0, Math.floor(((announced.delay - start) / size) * 10)))
    tenths[tenth] = (tenths[tenth] ?? 0) + 1
  }
  const delays = group.map(({ delay }) => delay)
  return {
    kind,
    count: group.length,
    least: Math.min(...delays),
    most: Math.max(...delays),
    outside,
    tenths,
  }
}

/**
 * The flaws of the delays of one kind. Each tenth of the range must hold from 5 % to 15 % of the delays; for few delays, up to
 * five standard deviations from 10 %.
 */
export function flawsOf({ kind, count, outside, tenths }: Spread): string[] {
  const flaws =
    outside > 0 ? [`${kind}: ${outside} of ${count} delays are outside of the documented bounds`] : []
  const tolerance = Math.max(0.05, 5 * Math.sqrt(0.09 / count))
  if (tenths.some((held) => Math.abs(held / count - 0.1) > tolerance)) {
    flaws.push(`${kind}: the delays are not spread, the tenths of the range hold ${tenths.join(', ')}`)
  }
  return flaws
}
