import { Pool } from './machines.ts'
import { type ModelResult, runModel } from './run.ts'

/**
 * Runs the plan of each seed.
 *
 * @param onResult - Called after each run, with the number of runs so far.
 */
export async function runSeeds(
  seeds: readonly number[],
  atOnce: number,
  onResult: (result: ModelResult, count: number) => void = () => {},
): Promise<ModelResult[]> {
  await using pool = new Pool()
  const waiting = [...seeds]
  const results: ModelResult[] = []
  const work = async () => {
    for (let seed = waiting.shift(); seed !== undefined; seed = waiting.shift()) {
      const result = await runModel(seed, pool)
      results.push(result)
      onResult(result, results.length)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return results
}
