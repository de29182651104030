import { parseArgs } from 'node:util'

export const help = `Usage: npm run stampede -- [options]

Opens many streams from one upstream, which then loses all of them at the same moment, in one way after another, and
comes back. Shows when it is met by how many connects, and checks that each stream goes on with nothing lost or twice,
that each delay is one that the design allows, and that the delays are spread evenly over the range of the jitter.

  --streams N   how many (default 2000)
  --base MS     reconnect.baseDelay in milliseconds (default 1000); outages last in proportion
  --jitter J    reconnect.jitter, from 0 to 1 (default 0.1, which is the library's)
  --help        prints this

Exit code: 0 when all of that holds, 1 when not, 2 for a wrong option.
`

export interface StampedeOptions {
  readonly streams: number
  /** Milliseconds. */
  readonly base: number
  readonly jitter: number
}

/**
 * @returns What to run, or undefined when help is asked for.
 * @throws `TypeError` or `RangeError` for a wrong option.
 */
export function readArguments(args: readonly string[]): StampedeOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      streams: { type: 'string', default: '2000' },
      base: { type: 'string', default: '1000' },
      jitter: { type: 'string', default: '0.1' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  return {
    streams: Math.round(number('streams', values.streams, 100, 100_000)),
    base: number('base', values.base, 20, 60_000),
    jitter: number('jitter', values.jitter, 0, 1),
  }
}

function number(name: string, value: string, least: number, most: number): number {
  const result = value.trim() === '' ? Number.NaN : Number(value)
  if (result >= least && result <= most) return result
  throw new RangeError(`--${name} must be a number from ${least} to ${most}, got ${JSON.stringify(value)}`)
}
