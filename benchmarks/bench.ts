// `npm run bench` at the root runs this; run.mjs has seen to its packages and to the built library.
import { parseArgs } from 'node:util'
import { Bench, type Extent } from './bench-context.ts'
import type { Result } from './figures.ts'
import { machine } from './machine.ts'
import { micro } from './micro.ts'
import { profile } from './profile.ts'
import { isKind, type KindName, kindNames } from './relays/kinds.ts'
import { report } from './report.ts'
import { writeResults } from './results.ts'
import { type Workload, workloads } from './workloads.ts'

const help = `npm run bench -- [WORKLOAD …] [OPTIONS]     all workloads, or those named
npm run bench -- profile WORKLOAD [--kinds KIND]   where one relay (resilient-sse) spends its time
npm run bench -- micro                             parts of the library alone

${Object.entries(workloads)
  .map(([name, { about }]) => `  ${name.padEnd(10)} ${about}`)
  .join('\n')}

  --kinds A,B    only these relays: ${kindNames.join(', ')}
  --rounds N     rounds in which all kinds take their turn (default 9)
  --seconds N    length of each measurement (default 1)
  --heap N       mebibytes on the heap of each relay besides (default 16)
  --quick        everything once with tiny numbers, to see that it works
  --write        put the results into results.json, RESULTS.md and results.svg
  --help`

/** Of a command line that is none. */
class UsageError extends Error {}

try {
  await main()
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n\n${help}` : error)
  process.exitCode = error instanceof UsageError ? 2 : 1
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      kinds: { type: 'string' },
      rounds: { type: 'string', default: '9' },
      seconds: { type: 'string', default: '1' },
      heap: { type: 'string', default: '16' },
      quick: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const { quick, write, help: wanted } = values
  if (wanted) {
    console.log(help)
    return
  }
  const only = values.kinds?.split(',').map(kindOf)
  const extent: Extent = {
    quick,
    rounds: quick ? 1 : positive('rounds', values.rounds),
    seconds: quick ? 0.1 : positive('seconds', values.seconds),
    heap: notNegative('heap', values.heap),
    only,
  }
  const [command, subject = ''] = positionals
  if (command === 'profile')
    console.log(await profile(workloadOf(subject), only?.[0] ?? 'resilient-sse', extent))
  else if (command === 'micro') console.log(await micro(quick))
  else await measure(positionals.length > 0 ? positionals : Object.keys(workloads), extent, write)
}

async function measure(names: readonly string[], extent: Extent, write: boolean): Promise<void> {
  const chosen = names.map((name) => [name, workloadOf(name)] as const)
  const measured = new Map<string, readonly Result[]>()
  console.log(`${machine()}\n`)
  // Fresh processes for each workload; a smoke run has no time for that.
  await using shared = extent.quick ? await Bench.start(extent) : undefined
  for (const [name, workload] of chosen) {
    await using own = shared ? undefined : await Bench.start(extent)
    const bench = shared ?? own
    if (!bench) return
    const results = await workload.run(bench)
    measured.set(name, results)
    for (const result of results) console.log(extent.quick ? summary(result) : `${report(result)}\n`)
  }
  if (write && !extent.quick) await writeResults(measured, machine())
}

/** All that figures of a smoke run can say. */
function summary({ title, figures }: Result): string {
  return `${title}: each event arrived once with ${figures.map(({ kind }) => kind).join(', ')}`
}

function workloadOf(name: string): Workload {
  const workload = workloads[name]
  if (!workload) throw new UsageError(`no workload "${name}"`)
  return workload
}

function kindOf(name: string): KindName {
  if (!isKind(name)) throw new UsageError(`no relay "${name}"`)
  return name
}

function notNegative(name: string, text: string): number {
  const value = Number(text)
  if (text === '' || !(value >= 0))
    throw new UsageError(`--${name} must be a number from 0 on, got "${text}"`)
  return value
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new UsageError(`--${name} must be a number above 0, got "${text}"`)
  return value
}
