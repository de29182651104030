import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

let collect: (() => unknown) | undefined

/** Runs a full garbage collection, with or without Node's --expose-gc. */
function collectNow(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc')
    const gc: unknown = runInNewContext('gc')
    if (typeof gc !== 'function') throw new TypeError('no gc')
    collect = () => gc()
  }
  collect()
}

/**
 * The memory in use after garbage collection. Takes the least of several rounds, because some objects become free only after
 * further turns of the event loop, and the measurement itself allocates.
 */
export async function memoryAfterCollection(rounds = 5): Promise<NodeJS.MemoryUsage> {
  let least: NodeJS.MemoryUsage | undefined
  for (let round = 0; round < rounds; round++) {
    // V8 frees the buffers that a collection has found unused in another thread, and counts them until the next collection: those of
    // the latest turn were up to 24 MB while streams were running.
    collectNow()
    collectNow()
    const usage = process.memoryUsage()
    if (least === undefined || total(usage) < total(least)) least = usage
    await nextTurn()
  }
  return least ?? process.memoryUsage()
}

/** Bytes in use on the heap and in external memory, after garbage collection. */
export async function usedMemory(): Promise<number> {
  return total(await memoryAfterCollection())
}

/**
 * The least growth of the memory in use over several equal parts of a run. What a leak keeps grows in each part; code that is compiled,
 * and tables that get larger, in one of them: 1.5 MB on Node 22.
 */
export async function leastGrowth(parts: number, run: (part: number) => Promise<void>): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  let before = await usedMemory()
  for (let part = 0; part < parts; part++) {
    await run(part)
    const after = await usedMemory()
    least = Math.min(least, after - before)
    before = after
  }
  return least
}

function total({ heapUsed, external }: NodeJS.MemoryUsage): number {
  return heapUsed + external
}
