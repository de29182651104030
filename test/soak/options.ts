import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'

/** Faults that can be made on purpose, to check that the verdict detects them. */
const faults = ['heap', 'timer', 'listener', 'event'] as const

export type Fault = (typeof faults)[number]

/** The share of the run before the heap is compared: code is compiled and windows fill in this time. */
export const warmUp = 0.5
/** How much the heap may grow from the first third of the remaining time to the last third, as a share. */
export const tolerance = 0.05
/** The number of upstream streams. */
export const streamsOf = ({ relays, shared }: SoakOptions) => shared || relays
/** The most sources of closed relays that may be in memory: some of them are not collected yet. */
export const mostClosedSources = (options: SoakOptions) => Math.max(5, tolerance * streamsOf(options))

const most = { minutes: 24 * 60, relays: 20_000, shared: 20_000, rate: 10_000, life: 3600, seed: 2 ** 32 - 1 }

export const help = `Usage: npm run soak -- [options]

Relays event streams in this process. In another process upstreams drop, reset, fall silent and refuse, and clients
disconnect and reconnect. Checks that events are not lost, that memory does not grow, and that no handle stays open.

  --minutes M   duration, without the time for samples (default 10)
  --relays N    number of simultaneous streams (default 500)
  --shared N    number of streams of a hub that the relays share (default 0: each relay has a stream of its own)
  --rate R      events per second in each stream (default 5)
  --life S      average seconds that an upstream connection is open (default 1.5)
  --seed N      seed of the faults (default: random, and printed; the machine's timing adds randomness)
  --break F     make a fault on purpose, to see the verdict fail: ${faults.join(', ')}; may be repeated
  --bounds      instead measure the memory of a million events and of endless events (see test/soak/bounds.ts)
  --help        print this help

For each sample, drops and disconnects stop until every relay is connected.

The run passes when all of these hold:
  - every event arrives once and in order
  - the heap after collection does not grow: the median of the last third of the samples is at most ${tolerance * 100} % above that of
    the first third, after a warm-up of ${warmUp * 100} % of the time; the same for the heap and external memory together
  - sources of closed relays are collected, and no source is left at the end
  - sockets, servers and timers at the end are those of the start
  - no warning and no uncaught error was emitted

Exit code: 0 when the run passes, 1 otherwise, 2 for a wrong option.
`

export interface SoakOptions {
  readonly minutes: number
  readonly relays: number
  /** The number of shared streams; 0 when each relay has a stream of its own. */
  readonly shared: number
  readonly rate: number
  readonly life: number
  readonly seed: number
  readonly bounds: boolean
  readonly faults: readonly Fault[]
}

/**
 * @returns The options of the run, or undefined for `--help`.
 * @throws `TypeError` or `RangeError` that names the wrong option.
 */
export function readArguments(args: readonly string[]): SoakOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '10' },
      relays: { type: 'string', default: '500' },
      shared: { type: 'string', default: '0' },
      rate: { type: 'string', default: '5' },
      life: { type: 'string', default: '1.5' },
      seed: { type: 'string', default: String(randomInt(2 ** 32)) },
      break: { type: 'string', multiple: true, default: [] },
      bounds: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  return {
    minutes: number('minutes', values.minutes, 0.01),
    relays: Math.round(number('relays', values.relays, 1)),
    shared: Math.round(number('shared', values.shared, 0)),
    rate: number('rate', values.rate, 0.1),
    life: number('life', values.life, 0.01),
    seed: Math.round(number('seed', values.seed, 0)),
    bounds: values.bounds,
    faults: values.break.map(faultOf),
  }
}

function number(name: keyof typeof most, value: string, least: number): number {
  const result = value.trim() === '' ? Number.NaN : Number(value)
  if (result >= least && result <= most[name]) return result
  throw new RangeError(
    `--${name} must be a number from ${least} to ${most[name]}, got ${JSON.stringify(value)}`,
  )
}

function faultOf(value: string): Fault {
  const fault = faults.find((each) => each === value)
  if (fault !== undefined) return fault
  throw new RangeError(`--break must be one of ${faults.join(', ')}, got ${JSON.stringify(value)}`)
}
