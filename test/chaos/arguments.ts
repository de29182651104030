import { parseArgs } from 'node:util'
import { ownWays, type WayName } from './batch.ts'
import { peerNames } from './peers.ts'

export const help = `Usage: npm run chaos [-- options]

Streams a log of events from an upstream that misbehaves in every way to a client that does, over real sockets, and checks
that each event arrived once and in order. A seed decides on everything.

  --seeds N     how many seeds (default 500)
  --from N      the first of them (default 1)
  --seed N      this seed alone; says what happened
  --way NAMES   through what, separated by commas (default ${ownWays.join()}); peers:
                ${peerNames.join()}
                (npm run build && npm --prefix benchmarks install), or "peers" for all of these
  --at-once N   how many runs at once (default 8)
  --help        prints this

Exit code: 0 when all was whole, 1 when not, 2 for a wrong option.
`

export interface ChaosOptions {
  readonly seeds: readonly number[]
  readonly ways: readonly WayName[]
  readonly atOnce: number
  /** Whether to tell what happened in each run. */
  readonly verbose: boolean
}

/**
 * @returns What to run, or undefined when help is asked for.
 * @throws An error that names what is wrong.
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
  if (way === undefined) throw new Error(`--way knows no ${JSON.stringify(name)}`)
  return way
}
