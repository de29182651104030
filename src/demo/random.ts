/** Returns numbers from 0 to below 1, in the same order for the same seed. */
export type Random = () => number

/** Makes a generator that hashes a counter. Not for cryptography. */
export function createRandom(seed: number): Random {
  let counter = seed >>> 0
  return () => {
    counter = (counter + 0x9e3779b9) >>> 0
    let mixed = Math.imul(counter ^ (counter >>> 16), 0x21f0aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32
  }
}

/** Maps a number from 0 to below 1 to a whole number from `least` to `most`, inclusive. */
export function wholeBetween(least: number, most: number, chance: number): number {
  return least + Math.floor(chance * (most - least + 1))
}

/** Maps a number from 0 to below 1 to one of several values. */
export function oneOf<T>(values: readonly [T, ...T[]], chance: number): T {
  return values[Math.floor(chance * values.length)] ?? values[0]
}

/** The values in random order. */
export function shuffled<T>(values: readonly T[], random: Random): T[] {
  return values
    .map((value) => ({ value, rank: random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ value }) => value)
}
