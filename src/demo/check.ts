import type { CheckOptions } from './arguments.ts'
import { readEvents, request } from './client.ts'
import { startGateway } from './gateway.ts'
import { type Arrival, Ledger, numbered } from './ledger.ts'
import { type Run, showProgress, tableOf } from './report.ts'
import { startUnreliableUpstream } from './unreliable-upstream.ts'

/** The members of the process that the check uses. */
export type CheckTerminal = Pick<NodeJS.Process, 'stdout' | 'once' | 'off'>

/**
 * Reads a stream whose upstream keeps dropping its connections, and prints a table of what arrived.
 *
 * @returns The exit code.
 */
export async function check(options: CheckOptions, terminal: CheckTerminal): Promise<number> {
  const { events, seed, dropRate } = options
  terminal.stdout.write(`${events} events, seed ${seed}, drop rate ${dropRate}\n`)
  const upstream = await startUnreliableUpstream(options)
  const gateway = await startGateway(upstream.url)
  try {
    return await watch(
      { upstream, gateway, events, ledger: new Ledger({ positionOf: numbered(events) }) },
      terminal,
    )
  } finally {
    await gateway.close()
    await upstream.close()
  }
}

/** Reads the whole stream and prints the result. Returns the exit code. */
async function watch(run: Run, terminal: CheckTerminal): Promise<number> {
  const print = (text: string) => terminal.stdout.write(`${text}\n`)
  const { gateway, ledger, events } = run
  const stop = new AbortController()
  const onSignal = () => stop.abort()
  // Once, so that a second Ctrl-C ends the process at once.
  terminal.once('SIGINT', onSignal)
  terminal.once('SIGTERM', onSignal)
  const hideProgress = showProgress(run, terminal.stdout)
  const start = performance.now()
  let longestPause = 0
  let latest = start
  const note = (arrival: Arrival) => {
    const now = performance.now()
    longestPause = Math.max(longestPause, now - latest)
    latest = now
    ledger.note(arrival)
  }
  const failure = await read(gateway.url, stop.signal, note).catch((error: unknown) => error)
  hideProgress()
  terminal.off('SIGINT', onSignal)
  terminal.off('SIGTERM', onSignal)
  if (stop.signal.aborted) {
    print(`Stopped after ${ledger.delivered} of ${events} events.`)
    return 130
  }
  print(`\n${tableOf(run, longestPause, performance.now() - start)}\n`)
  if (failure !== undefined) print(`The client's connection broke: ${reasonOf(failure, gateway.error)}`)
  const fine = failure === undefined && ledger.isWhole(events) && gateway.connections === 1
  print(
    fine
      ? 'Every event arrived once and in order, over one connection that never broke.'
      : 'Events are missing, repeated, out of order or damaged, or the connection broke.',
  )
  return fine ? 0 : 1
}

/** Reads the whole stream over one connection. Returns, or throws, the error that broke the stream. */
async function read(url: string, signal: AbortSignal, note: (arrival: Arrival) => void): Promise<unknown> {
  const response = await request(url, { headers: { accept: 'text/event-stream' }, signal, patience: 30_000 })
  if (response.statusCode !== 200) throw new Error(`the gateway answered ${response.statusCode}`)
  return readEvents(response, note)
}

/** The message of a failure, with the gateway's error as its cause. */
function reasonOf(failure: unknown, gatewayError: Error | undefined): string {
  const reason = failure instanceof Error ? failure.message : String(failure)
  return gatewayError ? `${reason} (in the gateway: ${gatewayError.message})` : reason
}
