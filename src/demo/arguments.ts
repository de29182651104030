import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'

const mostEvents = 1_000_000
const mostSeeds = 2 ** 32
const defaults = { events: 2000, dropRate: 0.02 }

export const help = `Usage: resilient-sse demo [options]

Reads a stream of numbered events through the proxy over one connection, while the upstream keeps dropping its
connections. Checks that each event arrives once and in order.

  --events N       number of events, from 1 to ${mostEvents} (default ${defaults.events}; 400 are published per second)
  --seed N         seed of the kinds and times of the drops, from 0 to ${mostSeeds - 1} (default: random, and printed)
  --drop-rate R    drops per event, from 0 to 1 (default ${defaults.dropRate}: on average one drop for ${1 / defaults.dropRate} events);
                   the recovery from a drop takes about 0.15 s
  --help, -h       print this help

Exit code: 0 when every event arrived, 1 otherwise, 2 for a wrong option, 130 when stopped with Ctrl-C.
`

export interface DemoOptions {
  readonly events: number
  readonly seed: number
  readonly dropRate: number
}

/** An error in the command line. */
export class UsageError extends Error {}

/**
 * @returns The options of the run, or undefined for `--help`.
 * @throws {@link UsageError} that names the wrong option.
 */
export function readArguments(args: readonly string[]): DemoOptions | undefined {
  const { help, events, seed, 'drop-rate': dropRate } = parse(args)
  if (help) return undefined
  return {
    events: events === undefined ? defaults.events : whole('--events', events, 1, mostEvents),
    seed: seed === undefined ? randomInt(mostSeeds) : whole('--seed', seed, 0, mostSeeds - 1),
    dropRate: dropRate === undefined ? defaults.dropRate : share('--drop-rate', dropRate),
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        events: { type: 'string' },
        seed: { type: 'string' },
        'drop-rate': { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (error) {
    // The first line of the error of parseArgs names the unknown option, the missing value or the extra argument.
    const [reason] = String(error instanceof Error ? error.message : error).split('\n')
    throw new UsageError(`${reason} (got ${args.join(' ')})`, { cause: error })
  }
}

function whole(option: string, value: string, least: number, most: number): number {
  const number = Number(value)
  if (!/^\d+$/.test(value) || number < least || number > most) {
    throw new UsageError(
      `${option} must be a whole number from ${least} to ${most}, got ${JSON.stringify(value)}`,
    )
  }
  return number
}

function share(option: string, value: string): number {
  const number = Number(value)
  if (value.trim() === '' || !(number >= 0 && number <= 1)) {
    throw new UsageError(`${option} must be a number from 0 to 1, got ${JSON.stringify(value)}`)
  }
  return number
}
