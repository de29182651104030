/** A delay that a stream announced, and what is known of its occasion. Times in milliseconds. */
export interface AskedDelay {
  readonly attempt: number
  readonly delay: number
  readonly source: 'backoff' | 'retry' | 'retry-after' | 'clean-end'
  /** What the upstream's Retry-After said, if it said anything. */
  readonly retryAfter: number | undefined
  /** How long the connection before was open: between these two. */
  readonly openFor: readonly [least: number, most: number]
}

export interface DelayRules {
  readonly baseDelay: number
  readonly maxDelay: number
  readonly jitter: number
}

/** The delays of one kind, and where in their range they lie. */
export interface Spread {
  readonly kind: string
  readonly count: number
  readonly least: number
  readonly most: number
  /** Delays that the design does not allow. */
  readonly outside: number
  /** How many lie in each tenth of the range that the jitter gives. */
  readonly tenths: readonly number[]
}

/** What the jitter is by default: spread is looked for even where there is none. */
const usualJitter = 0.1
/** What computing with fractions may cost. */
const epsilon = 0.001

interface Range {
  /** The least and the most that the design allows. */
  readonly least: number
  readonly most: number
  /** Where the random part starts, and how large it may be; a negative one is taken off. */
  readonly start: number
  readonly size: number
}

/** The design's rule for each kind, written down once more. */
function rangeOf({ baseDelay, maxDelay, jitter }: DelayRules, asked: AskedDelay): Range {
  const full = Math.min(maxDelay, baseDelay * 2 ** asked.attempt)
  switch (asked.source) {
    case 'clean-end': {
      const [shortest, longest] = asked.openFor
      const rest = Math.max(0, baseDelay - shortest)
      const size = jitter * baseDelay
      return { least: Math.max(0, baseDelay - longest), most: rest + size, start: rest, size }
    }
    case 'retry-after': {
      const start = asked.retryAfter ?? Number.NaN
      return { least: start, most: start + jitter * full, start, size: jitter * full }
    }
    default:
      return { least: full - jitter * full, most: full, start: full, size: -jitter * full }
  }
}

/** Groups delays by what set them and by attempt. */
export function spreadsOf(rules: DelayRules, delays: readonly AskedDelay[]): Spread[] {
  const groups = new Map<string, AskedDelay[]>()
  for (const asked of delays) {
    const kind = `${asked.source}, attempt ${asked.attempt}`
    groups.set(kind, [...(groups.get(kind) ?? []), asked])
  }
  return [...groups].map(([kind, group]) => spreadOf(rules, kind, group))
}

function spreadOf(rules: DelayRules, kind: string, group: readonly AskedDelay[]): Spread {
  const tenths = new Array<number>(10).fill(0)
  let outside = 0
  for (const asked of group) {
    const { least, most } = rangeOf(rules, asked)
    if (!(asked.delay >= least - epsilon && asked.delay <= most + epsilon)) outside++
    const { start, size } = rangeOf({ ...rules, jitter: rules.jitter || usualJitter }, asked)
    const tenth = Math.min(9, Math.max(0, Math.floor(((asked.delay - start) / size) * 10)))
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
 * What is wrong with the delays of one kind. Each tenth of the range is to hold between 5 % and 15 % of them; where they
 * are few, up to five standard deviations off are chance.
 */
export function flawsOf({ kind, count, outside, tenths }: Spread): string[] {
  const flaws =
    outside > 0 ? [`${kind}: ${outside} of ${count} delays are outside of the design's bounds`] : []
  const tolerance = Math.max(0.05, 5 * Math.sqrt(0.09 / count))
  if (tenths.some((held) => Math.abs(held / count - 0.1) > tolerance)) {
    flaws.push(`${kind}: the delays are not spread, the tenths of the range hold ${tenths.join(', ')}`)
  }
  return flaws
}
