import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'

/** What can be broken on purpose, to see that the verdict says so. */
const faults = ['heap', 'timer', 'listener', 'event'] as const

export type Fault = (typeof faults)[number]

/** Of the time, what passes before the heap counts: code is compiled, windows fill. */
export const warmUp = 0.5
/** How much the heap may grow from the first third of what follows to the last. */
export const tolerance = 0.05
/** How many sources may still be in memory behind the relays that are open: of some, the collection is on its way. */
export const mostClosedSources = (relays: number) => Math.max(5, tolerance * relays)

const most = { minutes: 24 * 60, relays: 20_000, rate: 10_000, life: 3600, seed: 2 ** 32 - 1 }

export const help = `Usage: npm run soak -- [options]

Relays event streams in this process, while upstreams and clients in another one drop, reset, fall silent, refuse,
vanish and return all the time. Checks that nothing is lost, that memory stays flat and that nothing is left open.

  --minutes M   how long (default 10); the moments of the samples come on top
  --relays N    how many streams at a time (default 500)
  --rate R      events of each stream in a second (default 5)
  --life S      seconds that a connection to an upstream lives, on average (default 1.5)
  --seed N      of what goes wrong and when (default: random, and printed; the machine's timing adds its own)
  --break F     breaks something on purpose, to see the verdict fail: ${faults.join(', ')}; may be repeated
  --bounds      instead: memory of a million events and of endless ones (see test/soak/bounds.ts)
  --help        prints this

For each sample everything holds still for a moment, until each relay is there and connected.

The verdict: all events arrive once and in order; the heap after collection is flat (the median of the samples of the last
third is at most ${tolerance * 100} % above that of the first third, both after a warm-up of ${warmUp * 100} % of the time; the same for the
heap together with what is outside of it); sources of closed relays leave the memory; at the end sockets, servers and
timers are those of the start and no source is left; no warning, no uncaught error. Exit code: 0 when it holds, 1 when not, 2 for a wrong option.
`

export interface SoakOptions {
  readonly minutes: number
  readonly relays: number
  readonly rate: number
  readonly life: number
  readonly seed: number
  readonly bounds: boolean
  readonly faults: readonly Fault[]
}

/**
 * @returns What to run, or undefined when help is asked for.
 * @throws `TypeError` or `RangeError` for a wrong option.
 */
export function readArguments(args: readonly string[]): SoakOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '10' },
      relays: { type: 'string', default: '500' },
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
