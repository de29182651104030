import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import fc, { type IRawProperty, type RunDetails } from 'fast-check'
import { properties, shareOf } from './properties.ts'

const usage = `Usage: npm run fuzz [-- --cases 100000 --seed N --only name --path P]

Runs the properties of test/fuzz with many cases. Prints one line for each property, and a command that repeats a failure.
Names: ${properties.map(({ name }) => name).join(', ')}
`

/** Prints the progress of a property every three seconds. */
class Progress<T> implements IRawProperty<T> {
  readonly #property: IRawProperty<T>
  readonly #print: (done: number) => void
  #done = 0
  #printedAt = performance.now()
  readonly isAsync: IRawProperty<T>['isAsync']
  readonly generate: IRawProperty<T>['generate']
  readonly shrink: IRawProperty<T>['shrink']
  readonly runBeforeEach: IRawProperty<T>['runBeforeEach']
  readonly runAfterEach: IRawProperty<T>['runAfterEach']

  constructor(property: IRawProperty<T>, print: (done: number) => void) {
    this.#property = property
    this.#print = print
    this.isAsync = property.isAsync.bind(property)
    this.generate = property.generate.bind(property)
    this.shrink = property.shrink.bind(property)
    this.runBeforeEach = property.runBeforeEach.bind(property)
    this.runAfterEach = property.runAfterEach.bind(property)
  }

  run(value: T) {
    this.#done++
    const now = performance.now()
    if (now - this.#printedAt > 3000) {
      this.#printedAt = now
      this.#print(this.#done)
    }
    return this.#property.run(value)
  }
}

function wholeNumber(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined
  if (!/^-?\d+$/.test(text)) throw new TypeError(`--${name} must be a whole number, got ${text}`)
  return Number(text)
}

function readOptions() {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    options: { cases: text, seed: text, only: text, path: text, help: { type: 'boolean' } },
  })
  const chosen = properties.filter(({ name }) => values.only === undefined || name === values.only)
  if (chosen.length === 0) throw new TypeError(`--only must name a property, got ${values.only}\n\n${usage}`)
  return {
    help: values.help === true,
    cases: wholeNumber(values.cases, 'cases') ?? 100_000,
    seed: wholeNumber(values.seed, 'seed') ?? randomInt(2 ** 31),
    path: values.path,
    chosen,
    alone: values.only !== undefined,
  }
}

function report(name: string, details: RunDetails<unknown>): void {
  const { seed, counterexamplePath, errorInstance } = details
  console.error(`\n${name} does not hold.\n${fc.defaultReportMessage(details)}`)
  console.error(errorInstance)
  console.error(
    `\nTo repeat the failure:\n  npm run fuzz -- --only ${name} --seed ${seed} --path ${counterexamplePath}\n`,
  )
}

async function main(): Promise<boolean> {
  const { help, cases, seed, path, chosen, alone } = readOptions()
  if (help) {
    console.log(usage)
    return true
  }
  const table: { property: string; cases: number; seconds: string; result: string }[] = []
  for (const named of chosen) {
    const { name } = named
    const runs = path === undefined ? (alone ? cases : shareOf(named, cases)) : 1
    const start = performance.now()
    const property = new Progress(named.property, (done) => console.log(`${name}: ${done} of ${runs}`))
    const details = await fc.check(property, {
      numRuns: runs,
      seed,
      ...(path !== undefined && { path, endOnFailure: true }),
    })
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    table.push({
      property: name,
      cases: details.numRuns,
      seconds,
      result: details.failed ? 'FAILS' : 'holds',
    })
    console.log(`${name}: ${details.failed ? 'FAILS' : 'holds'} after ${details.numRuns} cases, ${seconds} s`)
    if (details.failed) report(name, details)
  }
  console.table(table)
  console.log(
    `${table.reduce((sum, row) => sum + row.cases, 0)} cases, seed ${seed}, Node ${process.version}`,
  )
  return table.every(({ result }) => result === 'holds')
}

main().then(
  (holds) => {
    process.exitCode = holds ? 0 : 1
  },
  (error: unknown) => {
    console.error(error instanceof TypeError ? error.message : error)
    process.exitCode = 2
  },
)
