import { parseArgs } from 'node:util'
import { ownWays, type WayName } from './batch.ts'
import { peerNames } from './peers.ts'

export const help = `Usage: npm run chaos [-- options]

Streams a log of events over real sockets, from an upstream that drops connections in many ways to a client that may be
slow, stall or disconnect. Checks that each event arrives once and in order. A seed decides the whole run.

The ways feed, fleet and session lead through hubs: to many clients of every kind, over a store that may be slow or fail.
Hubs are closed and replaced, and streams are cancelled.

  --seeds N     number of seeds (default 500)
  --from N      first seed (default 1)
  --seed N      run this seed only, and print a trace
  --way NAMES   ways from the upstream to the client, separated by commas (default ${ownWays.join()}); peers:
                ${peerNames.join()}
                (npm run build && npm --prefix benchmarks install), or "peers" for all peers
  --at-once N   number of simultaneous runs (default 8)
  --help        print this help

Exit code: 0 when every stream was whole, 1 otherwise, 2 for a wrong option.
`

export interface ChaosOptions {
  readonly seeds: readonly number[]
  readonly ways: readonly WayName[]
  readonly atOnce: number
  /** Whether to print the trace of each run. */
  readonly verbose: boolean
}

/**
 * @returns The options of the run, or undefined for `--help`.
 * @throws `Error` that names the wrong option.
 */
export function readArguments(args: readonly string[]): ChaosOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string', default: '500' },
      from: { type: 'string', default: '1' },
      seed: { type: 'string' },
      way: { type: 'string', default: ownWays.join() },
      'at-once': { type: 'string', default: '8' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  const from = whole('--from', values.from)
  const seeds = Array.from({ length: whole('--seeds', values.seeds) }, (_, n) => from + n)
  return {
    seeds: values.seed === undefined ? seeds : [whole('--seed', values.seed)],
    ways: values.way === 'peers' ? peerNames : values.way.split(',').map(wayOf),
    atOnce: Math.max(1, whole('--at-once', values['at-once'])),
    verbose: values.seed !== undefined,
  }
}

function whole(option: string, value: string): number {
  const number = Number(value)
  if (/^\d{1,9}$/.test(value)) return number
  throw new Error(`${option} must be a whole number, got ${JSON.stringify(value)}`)
}

function wayOf(name: string): WayName {
  const way = [...ownWays, ...peerNames].find((each) => each === name)
  if (way === undefined) throw new Error(`--way: unknown way ${JSON.stringify(name)}`)
  return way
}
