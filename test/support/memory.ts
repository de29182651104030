import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

let collect: (() => unknown) | undefined

/** A full garbage collection, whether Node was started with --expose-gc or not. */
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
 * What is in use after all that could be collected is gone: of several rounds the least, since what other code frees is
 * freed in several turns, and it allocates too.
 */
export async function memoryAfterCollection(rounds = 5): Promise<NodeJS.MemoryUsage> {
  let least: NodeJS.MemoryUsage | undefined
  for (let round = 0; round < rounds; round++) {
    collectNow()
    const usage = process.memoryUsage()
    if (least === undefined || total(usage) < total(least)) least = usage
    await nextTurn()
  }
  return least ?? process.memoryUsage()
}

/** Bytes in use, on the heap and outside of it, after all that could be collected is gone. */
export async function usedMemory(): Promise<number> {
  return total(await memoryAfterCollection())
}

function total({ heapUsed, external }: NodeJS.MemoryUsage): number {
  return heapUsed + external
}
