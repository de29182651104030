import { runBounds } from './bounds.ts'
import { help, readArguments, type SoakOptions } from './options.ts'
import { type Outcome, type Progress, soak } from './soak.ts'
import { dropKinds } from './upstream.ts'
import { faultsOf, percent } from './verdict.ts'

process.exitCode = await main(process.argv.slice(2))
// Exits even if the run has left handles open, after the output was written.
process.stdout.write('', () => process.exit())

async function main(args: readonly string[]): Promise<number> {
  let options: SoakOptions | undefined
  try {
    options = readArguments(args)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\nSee --help.\n`)
    return 2
  }
  if (options === undefined) {
    process.stdout.write(help)
    return 0
  }
  if (options.bounds) {
    await runBounds(print)
    return 0
  }
  const { minutes, relays, shared, rate, seed } = options
  const of = shared > 0 ? ` of ${shared} shared streams` : ''
  print(
    `${relays} relays${of} for ${minutes} min, ${rate} events/s each, seed ${seed}, node ${process.version}`,
  )
  const outcome = await soak(options, (progress) => print(lineOf(progress)))
  print(summaryOf(outcome))
  const wrong = faultsOf(outcome, options)
  print(wrong.length === 0 ? 'verdict: passed' : `verdict: failed\n  ${wrong.join('\n  ')}`)
  return wrong.length === 0 ? 0 : 1
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function lineOf({ seconds, sample, report, relays, handles }: Progress): string {
  return [
    `${seconds.toFixed(1).padStart(6)} s`,
    `events ${report?.delivered ?? 0}`,
    `drops ${relays.drops}`,
    `disconnects ${report?.vanished ?? 0}`,
    memoryOf(sample),
    `sockets ${(handles.get('TCPSocketWrap') ?? 0) + (handles.get('TCPConnectWrap') ?? 0)}`,
    `timers ${handles.get('Timeout') ?? 0}`,
    `relays ${relays.open}`,
    `sources ${relays.sources}`,
  ].join('  ')
}

function memoryOf({ heapUsed, external, arrayBuffers, rss }: NodeJS.MemoryUsage): string {
  return `heap ${mib(heapUsed)}  external ${mib(external)}  arrayBuffers ${mib(arrayBuffers)}  rss ${mib(rss)} MiB`
}

function summaryOf({ trends, report, relays, leftOpen, after }: Outcome): string {
  const left = [...leftOpen].map(([type, count]) => `${count} × ${type}`).join(', ')
  return [
    '',
    ...trends.map(
      ({ what, first, last, growth }) => `${what}: ${mib(first)} → ${mib(last)} MiB, ${percent(growth)}`,
    ),
    `events: ${report?.delivered} delivered, ${report?.lost} lost, ${report?.twice} twice, ${report?.outOfOrder} out of order, ${report?.damaged} damaged`,
    `dropped upstream connections: ${relays.drops}`,
    `  by kind: ${dropKinds.map((kind) => `${kind} ${report?.[kind]}`).join(', ')}`,
    `disconnects of clients: ${report?.vanished}, failures that clients have seen: ${report?.broken}`,
    `relays: ${Object.entries(relays.outcomes)
      .map(([outcome, count]) => `${outcome} ${count}`)
      .join(', ')}`,
    `after the run: ${memoryOf(after)}  sources ${relays.sources}  open handles: ${left || '0'}`,
  ].join('\n')
}

function mib(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1)
}
