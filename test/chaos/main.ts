import { until } from '../support/until.ts'
import { help, readArguments } from './arguments.ts'
import { runBatch } from './batch.ts'
import { failureOf, Report } from './report.ts'
import { isWhole } from './run.ts'

/** The most failures that are printed in full. */
const mostFailures = 5

process.exitCode = await main().catch((error: unknown) => {
  console.error(`npm run chaos: ${error instanceof Error ? error.message : error}`)
  return 2
})

async function main(): Promise<number> {
  const options = readArguments(process.argv.slice(2))
  if (options === undefined) {
    console.log(help)
    return 0
  }
  const uncaught: unknown[] = []
  process.on('uncaughtException', (error) => uncaught.push(error))
  process.on('unhandledRejection', (error) => uncaught.push(error))
  const report = new Report()
  const all = options.seeds.length * options.ways.length
  let failures = 0
  const before = openHandles()
  const proxyFaults = await runBatch(options.seeds, {
    ...options,
    onResult(way, result) {
      report.note(way, result)
      if (!isWhole(result)) failures++
      if (options.verbose || (!isWhole(result) && failures <= mostFailures))
        console.log(failureOf(way, result))
      if (report.runs % 50 === 0) console.error(`${report.runs} of ${all} runs, ${failures} not whole`)
    },
  })
  const left = () => openHandles() - before
  await until(
    () => left() <= 0,
    () => '',
  ).catch(() => {})
  for (const error of [...uncaught, ...proxyFaults]) console.log(error)
  console.log(`\n${report.table(options.ways)}\n\nfaults: ${report.faults()}`)
  console.log(`uncaught errors ${uncaught.length}, open handles ${left()}, Node ${process.version}`)
  return failures + uncaught.length + proxyFaults.length + left() > 0 ? 1 : 0
}

/** Sockets, servers and timers of this process. */
function openHandles(): number {
  return process.getActiveResourcesInfo().filter((type) => /^TCP|^Timeout$/.test(type)).length
}
