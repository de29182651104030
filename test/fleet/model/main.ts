import { parseArgs } from 'node:util'
import { runSeeds } from './batch.ts'

const help = `Usage: npm run model [-- options]

Runs a fleet of gateway processes on a Redis of its own for each seed. Machines are killed, closed and suspended, streams are
cancelled, and the network between the machines and Redis fails, while clients of an upstream move between the machines. Then
compares what clients saw with the log: ids rise, no event is missing or repeated, epochs do not interleave, two owners never
have the lease, and nothing is left in Redis without a time to live.

  --seeds N     number of seeds (default 200)
  --from N      first seed (default 1)
  --seed N      run this seed only, and print a trace
  --at-once N   number of simultaneous runs (default 4)
  --help        print this help

Exit code: 0 when every run was whole, 1 otherwise, 2 for a wrong option.
`

process.exitCode = await main().catch((error: unknown) => {
  console.error(`npm run model: ${error instanceof Error ? error.message : error}`)
  return 2
})

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '200' },
      from: { type: 'string', default: '1' },
      seed: { type: 'string' },
      'at-once': { type: 'string', default: '4' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(help)
    return 0
  }
  const from = whole('--from', values.from)
  const seeds =
    values.seed === undefined
      ? Array.from({ length: whole('--seeds', values.seeds) }, (_, n) => from + n)
      : [whole('--seed', values.seed)]
  const results = await runSeeds(
    seeds,
    Math.max(1, whole('--at-once', values['at-once'])),
    (result, count) => {
      const { seed, faults, trace } = result
      if (values.seed !== undefined || faults.length > 0)
        console.log([`seed ${seed}`, ...trace.slice(-80), ...faults].join('\n  '))
      if (count % 20 === 0) console.error(`${count} of ${seeds.length} runs`)
    },
  )
  const sum = (count: 'events' | 'epochs' | 'expired') =>
    results.reduce((total, result) => total + result[count], 0)
  const broken = results.filter(({ faults }) => faults.length > 0)
  console.log(
    `${results.length} runs, ${results.length - broken.length} whole: ${sum('events')} events, ${sum('epochs')} epochs, ` +
      `${sum('expired')} leases that had run out, Node ${process.version}`,
  )
  if (broken.length > 0) console.log(`to repeat a run: npm run model -- --seed ${broken[0]?.seed}`)
  return broken.length > 0 ? 1 : 0
}

function whole(option: string, value: string): number {
  if (/^\d{1,9}$/.test(value)) return Number(value)
  throw new Error(`${option} must be a whole number, got ${JSON.stringify(value)}`)
}
