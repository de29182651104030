import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { chart } from './chart.ts'
import type { Result } from './figures.ts'
import { report } from './report.ts'
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
  await writeFile(place('RESULTS.md'), page(stored))
  const charted = Object.keys(workloads).flatMap((name) => stored[name]?.results ?? [])
  await writeFile(place('results.svg'), chart(charted, machine, date))
}

function page(stored: Stored): string {
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
    ...sections,
  ].join('\n\n')}\n`
}

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
