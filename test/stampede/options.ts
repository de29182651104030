import { parseArgs } from 'node:util'

export const help = `Usage: npm run stampede -- [options]

Opens many streams from one upstream, which then drops all streams at the same moment and returns; several kinds of outages
follow each other. Shows the connects over time. Checks that each stream resumes without lost or repeated events, that each
delay is within the documented bounds, and that the delays are spread evenly over the range of the jitter.

  --streams N   number of streams (default 2000)
  --base MS     reconnect.baseDelay in milliseconds (default 1000); outages last in proportion
  --jitter J    reconnect.jitter, from 0 to 1 (default 0.1, the library's default)
  --help        print this help

Exit code: 0 when all checks pass, 1 otherwise, 2 for a wrong option.
`

export interface StampedeOptions {
  readonly streams: number
  /** Milliseconds. */
  readonly base: number
  readonly jitter: number
}

/**
 * @returns The options of the run, or undefined for `--help`.
 * @throws `TypeError` or `RangeError` that names the wrong option.
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
