const mostBins = 24
const widest = 50

/** A histogram of numbers, one line of text for each bin. */
export function histogramOf(values: readonly number[]): string[] {
  const least = Math.min(...values)
  const width = widthFor(Math.max(...values) - least)
  const first = Math.floor(least / width)
  const counts: number[] = []
  for (const value of values) {
    const bin = Math.floor(value / width) - first
    counts[bin] = (counts[bin] ?? 0) + 1
  }
  const highest = Math.max(...counts.filter((count) => count !== undefined))
  return Array.from(counts, (count = 0, bin) => {
    const bar = '█'.repeat(Math.ceil((count / highest) * widest))
    return `${String((first + bin) * width).padStart(7)} ms ${String(count).padStart(6)} ${bar}`.trimEnd()
  })
}

/** The smallest round width that gives fewer than {@link mostBins} bins. */
function widthFor(range: number): number {
  for (let power = 1; ; power *= 10) {
    for (const width of [power, 2 * power, 5 * power]) if (range / width < mostBins - 1) return width
  }
}
