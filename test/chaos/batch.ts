import { type PeerName, peerWay } from './peers.ts'
import { startProxy } from './proxy-process.ts'
import { type Result, run } from './run.ts'
import { scenarioOf } from './scenario.ts'
import { type SharedWay, sharedScenarioOf, sharedWays } from './shared-plan.ts'
import { runShared } from './shared-run.ts'
import { HostileUpstream } from './upstream.ts'
import { composedWay, relayWay, type StartWay, sourceWay } from './ways.ts'

/** The ways through this library. */
export const ownWays = ['source', 'composed', 'relay', 'proxy', ...sharedWays] as const

export type WayName = (typeof ownWays)[number] | PeerName

export interface BatchOptions {
  readonly ways: readonly WayName[]
  /** The number of simultaneous runs. */
  readonly atOnce: number
  readonly onResult: (way: WayName, result: Result) => void
}

/** The number of seeds that share one proxy process. */
const groupSize = 25

/**
 * Runs the scenario of each seed through each way.
 *
 * @returns The failures of the proxy's processes.
 */
export async function runBatch(seeds: readonly number[], options: BatchOptions): Promise<string[]> {
  const faults: string[] = []
  for (let at = 0; at < seeds.length; at += groupSize) {
    faults.push(...(await runGroup(seeds.slice(at, at + groupSize), options)))
  }
  return faults
}

async function runGroup(
  seeds: readonly number[],
  { ways, atOnce, onResult }: BatchOptions,
): Promise<string[]> {
  const runs: { way: WayName; upstream: HostileUpstream }[] = []
  for (const seed of seeds) {
    for (const way of ways) {
      const scenario = isShared(way) ? sharedScenarioOf(way, seed) : scenarioOf(seed)
      runs.push({ way, upstream: await HostileUpstream.start(scenario) })
    }
  }
  // The proxy's configuration names its upstreams, so all upstreams start before the proxy.
  const behindProxy = runs.filter(({ way }) => way === 'proxy').map(({ upstream }) => upstream)
  await using proxy = behindProxy.length > 0 ? await startProxy(behindProxy) : undefined
  const start = (way: Exclude<WayName, SharedWay>): StartWay => {
    if (way === 'source') return sourceWay
    if (way === 'composed') return composedWay
    if (way === 'relay') return relayWay
    if (way !== 'proxy') return (upstream) => peerWay(way, upstream)
    if (!proxy) throw new Error('no proxy was started')
    return proxy.wayTo
  }
  const work = async () => {
    for (let next = runs.shift(); next; next = runs.shift()) {
      const { way, upstream } = next
      onResult(way, await (isShared(way) ? runShared(upstream, way) : run(upstream, start(way))))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return (await proxy?.stop()) ?? []
}

function isShared(way: WayName): way is SharedWay {
  return sharedWays.some((each) => each === way)
}
