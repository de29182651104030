import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'

const mostEvents = 1_000_000
const mostSeeds = 2 ** 32
const defaults = { events: 2000, dropRate: 0.02 }
/** The port of the page when it is free. Another port is taken otherwise. */
export const usualPort = 8373

export const help = `Usage: resilient-sse demo [--port N]
       resilient-sse demo --check [options]

Serves a page on the loopback interface and prints its address. The page shows two clients of one upstream, one behind a
gateway and one behind a bare pipe, and has buttons that break the upstream.

  --port N         port of the page, from 0 to 65535; 0: a free port (default ${usualPort}, or a free port when ${usualPort} is in use)

With --check no page is served. A client reads numbered events through the proxy over one connection, while the upstream
keeps dropping its connections. The check prints a table, and whether each event arrived once and in order.

  --events N       number of events, from 1 to ${mostEvents} (default ${defaults.events}; 400 are published per second)
  --seed N         seed of the kinds and times of the drops, from 0 to ${mostSeeds - 1} (default: random, and printed)
  --drop-rate R    drops per event, from 0 to 1 (default ${defaults.dropRate}: on average one drop for ${1 / defaults.dropRate} events);
                   the recovery from a drop takes about 0.15 s
  --help, -h       print this help

Exit code: 0 when the page was stopped with Ctrl-C. With --check: 0 when every event arrived, 1 otherwise, 130 when stopped
with Ctrl-C. 2 for a wrong option.
`

export interface CheckOptions {
  readonly events: number
  readonly seed: number
  readonly dropRate: number
}

export type DemoOptions =
  | { readonly mode: 'help' }
  /** `port` is undefined for {@link usualPort}, or a free port when that one is in use. */
  | { readonly mode: 'page'; readonly port: number | undefined }
  | ({ readonly mode: 'check' } & CheckOptions)

/** An error in the command line. */
export class UsageError extends Error {}

/** @throws {@link UsageError} that names the wrong option. */
export function readArguments(args: readonly string[]): DemoOptions {
  const { help, check, port, ...ofCheck } = parse(args)
  if (help) return { mode: 'help' }
  if (!check) {
    const [stray] = Object.keys(ofCheck)
    if (stray !== undefined) throw new UsageError(`--${stray} is an option of --check`)
    return { mode: 'page', port: port === undefined ? undefined : whole('--port', port, 0, 65_535) }
  }
  if (port !== undefined)
    throw new UsageError('--port is an option of the page, which --check does not serve')
  const { events, seed, 'drop-rate': dropRate } = ofCheck
  return {
    mode: 'check',
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
        port: { type: 'string' },
        check: { type: 'boolean' },
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
