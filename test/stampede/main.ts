import { histogramOf } from './histogram.ts'
import { help, readArguments, type StampedeOptions } from './options.ts'
import { type OutageResult, stampede } from './stampede.ts'

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  let options: StampedeOptions | undefined
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
  const { streams, base, jitter } = options
  print(`${streams} streams, baseDelay ${base} ms, jitter ${jitter}, node ${process.version}`)
  const flaws = await stampede(options, (result) => print(textOf(result))).catch((error: unknown) => [
    error instanceof Error ? error.message : String(error),
  ])
  print(
    flaws.length === 0
      ? 'verdict: passed, every stream resumed without lost or repeated events'
      : `verdict: failed\n  ${flaws.join('\n  ')}`,
  )
  return flaws.length === 0 ? 0 : 1
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function textOf({ name, connects, spreads }: OutageResult): string {
  return [
    '',
    `${name}:`,
    'announced delays',
    ...spreads.map(
      ({ kind, count, least, most, outside, tenths }) =>
        `  ${kind}: ${count} from ${least.toFixed(1)} to ${most.toFixed(1)} ms, ${outside} not allowed; tenths of the jitter: ${tenths.join(' ')}`,
    ),
    'connects at the upstream, by the time since the outage began',
    ...histogramOf(connects),
    '',
  ].join('\n')
}
