import { until } from '../support/until.ts'
import { HostileClient } from './client.ts'
import type { Fault } from './scenario.ts'
import type { HostileUpstream } from './upstream.ts'
import type { StartWay } from './ways.ts'

/** The result of a run. */
export interface Result {
  readonly seed: number
  readonly delivered: number
  readonly lost: number
  readonly twice: number
  readonly outOfOrder: number
  readonly damaged: number
  /** Responses that ended cleanly before the last event. */
  readonly endedEarly: number
  /** Responses that broke. */
  readonly broken: number
  readonly hung: boolean
  /** Upstream connections that were still open after the client had received the end of the stream. */
  readonly leftOpen: number
  readonly attempts: number
  /** The number of times that each fault of the upstream occurred. */
  readonly faultCounts: ReadonlyMap<Fault, number>
  /** Failures of the way itself, as messages. */
  readonly faults: readonly string[]
  readonly trace: readonly string[]
}

/** Whether a run had no failure. */
export function isWhole(result: Result): boolean {
  const { lost, twice, outOfOrder, damaged, endedEarly, broken, hung, leftOpen, faults } = result
  return lost + twice + outOfOrder + damaged + endedEarly + broken + leftOpen + faults.length === 0 && !hung
}

/**
 * Runs the scenario of an upstream through one way, and closes the upstream.
 *
 * @param settling - How long sockets may take to close after the end, in milliseconds.
 */
export async function run(upstream: HostileUpstream, startWay: StartWay, settling = 30_000): Promise<Result> {
  const { scenario, trace } = upstream
  try {
    await using way = await startWay(upstream)
    const client = new HostileClient(scenario, trace)
    await client.read(way.open)
    // Sockets close asynchronously; a socket that stays open is a leak.
    await until(
      () => upstream.open === 0,
      () => '',
      settling,
    ).catch(() => {})
    const { ledger, broken, endedEarly, hung } = client
    return {
      seed: scenario.seed,
      delivered: ledger.delivered,
      lost: ledger.lost(scenario.log.filter(({ data }) => data !== undefined).length),
      twice: ledger.twice,
      outOfOrder: ledger.outOfOrder,
      damaged: ledger.damaged,
      endedEarly,
      broken,
      hung,
      leftOpen: upstream.open,
      attempts: upstream.requests,
      faultCounts: upstream.faultCounts,
      faults: way.faults,
      trace,
    }
  } finally {
    await upstream.close()
  }
}
