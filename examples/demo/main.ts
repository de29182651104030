import { type DemoOptions, help, readArguments, UsageError } from './arguments.ts'
import { Client } from './client.ts'
import { startGateway } from './gateway.ts'
import { Ledger } from './ledger.ts'
import { type Run, showProgress, tableOf } from './report.ts'
import { startUnreliableUpstream } from './unreliable-upstream.ts'

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = readArguments(args)
    if (options) return await demonstrate(options)
    process.stdout.write(help)
    return 0
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`${error.message}\nSee --help.\n`)
    return 2
  }
}

async function demonstrate(options: DemoOptions): Promise<number> {
  const { events, seed, dropRate } = options
  console.log(`${events} events, seed ${seed}, drop rate ${dropRate}`)
  const upstream = await startUnreliableUpstream(options)
  const gateway = await startGateway(upstream.url)
  try {
    return await watch({ upstream, gateway, ledger: new Ledger(events) })
  } finally {
    await gateway.close()
    await upstream.close()
  }
}

/** Has the client read everything, and says how it went. */
async function watch(run: Run): Promise<number> {
  const { gateway, ledger } = run
  const client = new Client(ledger)
  const stop = new AbortController()
  const onSignal = () => stop.abort()
  // Once: whoever presses Ctrl-C again does not want to wait.
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  const hideProgress = showProgress(run, process.stdout)
  const start = performance.now()
  const failure = await client.read(gateway.url, { signal: stop.signal }).catch((error: unknown) => error)
  hideProgress()
  process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  if (stop.signal.aborted) {
    console.log(`Stopped after ${ledger.delivered} of ${ledger.expected} events.`)
    return 130
  }
  console.log(`\n${tableOf(run, client.longestPause, performance.now() - start)}\n`)
  if (failure !== undefined) console.log(`The client's connection broke: ${reasonOf(failure, gateway.error)}`)
  const fine = failure === undefined && ledger.isWhole && gateway.connections === 1
  console.log(
    fine
      ? 'Every event arrived once and in order, over one connection that never broke.'
      : 'The stream did not stay whole.',
  )
  return fine ? 0 : 1
}

/** The gateway's failure is the cause of the client's, where there is one. */
function reasonOf(failure: unknown, gatewayError: Error | undefined): string {
  const reason = failure instanceof Error ? failure.message : String(failure)
  return gatewayError ? `${reason} (in the gateway: ${gatewayError.message})` : reason
}
