import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { chart } from './chart.ts'
import type { Result } from './figures.ts'
import { overview, report } from './report.ts'
import { workloads } from './workloads.ts'

/** The results of a workload, and what they hold for. */
interface Measured {
  readonly machine: string
  /** YYYY-MM-DD */
  readonly date: string
  readonly results: readonly Result[]
}

type Stored = Record<string, Measured>

const place = (name: string) => new URL(name, import.meta.url)

/** Puts the results of some workloads beside those of the others that are there already, as data, table and chart. */
export async function writeResults(
  measured: ReadonlyMap<string, readonly Result[]>,
  machine: string,
): Promise<void> {
  const file = place('results.json')
  const stored: Stored = existsSync(file) ? JSON.parse(await readFile(file, 'utf8')) : {}
  const date = new Date().toISOString().slice(0, 10)
  for (const [name, results] of measured) stored[name] = { machine, date, results }
  await writeFile(file, `${JSON.stringify(stored, undefined, 2)}\n`)
  const results = Object.keys(workloads).flatMap((name) => stored[name]?.results ?? [])
  await writeFile(place('RESULTS.md'), page(stored, results))
  await writeFile(place('results.svg'), chart(results, machinesOf(stored)))
}

/** The machines of all results, each with its date: workloads may be measured one by one. */
function machinesOf(stored: Stored): string {
  return [...new Set(Object.values(stored).map(({ machine, date }) => `${machine}, ${date}`))].join('; ')
}

function page(stored: Stored, results: readonly Result[]): string {
  const sections = Object.entries(workloads).flatMap(([name, { about }]) => {
    const measured = stored[name]
    if (!measured) return []
    return [
      `## ${name}`,
      `${sentence(about)} ${measured.date}, ${measured.machine}.`,
      ...measured.results.map(report),
    ]
  })
  return `${[
    '# Results',
    `\`npm run bench -- --write\` writes this page. Upstream, relay and client are processes of their own on one
machine. The kinds take turns within a round; a ratio is that to the bare pipe (\`pipeline\`) of the same round, so that what
else the machine does weighs on both. The figure is CPU time, user and system, of the relay process for each event that
arrives. In each run every event arrived exactly once, in order.`,
    '![Cost beside the bare pipe](results.svg)',
    `## Goals

A ratio is the median of those of all rounds. Everything else about a figure stands in the section of its workload.`,
    overview(results),
    ...sections,
  ].join('\n\n')}\n`
}

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
