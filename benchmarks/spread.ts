/** Several measurements of one thing. */
export interface Spread {
  readonly min: number
  readonly median: number
  readonly max: number
  readonly count: number
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = sortedOf(values)
  return {
    min: sorted[0] ?? Number.NaN,
    median: quantile(sorted, 0.5),
    max: sorted.at(-1) ?? Number.NaN,
    count: sorted.length,
  }
}

export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** The width of the middle half of the values, as a part of their median. */
export function relativeSpread(values: readonly number[]): number {
  const sorted = sortedOf(values)
  return (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / quantile(sorted, 0.5)
}

const sortedOf = (values: readonly number[]) => [...values].sort((a, b) => a - b)

/** The value below which a part of the sorted values lies, interpolated between its neighbours. */
function quantile(sorted: readonly number[], part: number): number {
  const place = (sorted.length - 1) * part
  const below = sorted[Math.floor(place)] ?? Number.NaN
  const above = sorted[Math.ceil(place)] ?? Number.NaN
  return below + (above - below) * (place - Math.floor(place))
}
