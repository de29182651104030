import { type DemoOptions, help, readArguments, UsageError } from './arguments.ts'
import { Client } from './client.ts'
import { startGateway } from './gateway.ts'
import { Ledger } from './ledger.ts'
import { type Run, showProgress, tableOf } from './report.ts'
import { startUnreliableUpstream } from './unreliable-upstream.ts'

/** What the demonstration uses of the process. */
export type Terminal = Pick<NodeJS.Process, 'stdout' | 'stderr' | 'once' | 'off'>

/**
 * Shows a client's stream that survives an upstream which keeps dropping.
 *
 * @returns The exit code.
 */
export async function demo(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const options = readArguments(args)
    if (options) return await demonstrate(options, terminal)
    terminal.stdout.write(help)
    return 0
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    terminal.stderr.write(`${error.message}\nSee --help.\n`)
    return 2
  }
}

async function demonstrate(options: DemoOptions, terminal: Terminal): Promise<number> {
  const { events, seed, dropRate } = options
  terminal.stdout.write(`${events} events, seed ${seed}, drop rate ${dropRate}\n`)
  const upstream = await startUnreliableUpstream(options)
  const gateway = await startGateway(upstream.url)
  try {
    return await watch({ upstream, gateway, ledger: new Ledger(events) }, terminal)
  } finally {
    await gateway.close()
    await upstream.close()
  }
}

/** Has the client read everything, and says how it went. */
async function watch(run: Run, terminal: Terminal): Promise<number> {
  const say = (text: string) => terminal.stdout.write(`${text}\n`)
  const { gateway, ledger } = run
  const client = new Client(ledger)
  const stop = new AbortController()
  const onSignal = () => stop.abort()
  // Once: whoever presses Ctrl-C again does not want to wait.
  terminal.once('SIGINT', onSignal)
  terminal.once('SIGTERM', onSignal)
  const hideProgress = showProgress(run, terminal.stdout)
  const start = performance.now()
  const failure = await client.read(gateway.url, { signal: stop.signal }).catch((error: unknown) => error)
  hideProgress()
  terminal.off('SIGINT', onSignal)
  terminal.off('SIGTERM', onSignal)
  if (stop.signal.aborted) {
    say(`Stopped after ${ledger.delivered} of ${ledger.expected} events.`)
    return 130
  }
  say(`\n${tableOf(run, client.longestPause, performance.now() - start)}\n`)
  if (failure !== undefined) console.log(`The client's connection broke: ${reasonOf(failure, gateway.error)}`)
  const fine = failure === undefined && ledger.isWhole && gateway.connections === 1
  say(
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
