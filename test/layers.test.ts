import { readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

/** The directories and files of `src`, from the bottom. Each imports only from itself and from the rows below its own. */
const rows = [
  ['errors'],
  ['http'],
  ['options'],
  ['wire'],
  ['diagnostics'],
  ['upstream', 'resume'],
  ['reconnect'],
  ['source', 'relay'],
  ['hub'],
  ['proxy'],
  ['demo'],
  ['cli'],
]
const entries = ['index', 'metrics', 'redis', 'store-tests']

interface Arrow {
  readonly from: string
  readonly to: string
  readonly how: 'value' | 'type' | 'dynamic'
}

const source = fileURLToPath(new URL('../src/', import.meta.url))
const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => file.endsWith('.ts'))
const arrows = files.flatMap((file) => importsOf(file))

function importsOf(file: string): Arrow[] {
  const text = readFileSync(source + file, 'utf8')
  const statement = /^(?:import|export) (?<type>type )?(?:[^'";]* from )?'(?<path>\.[^']+)'/gm
  const call = /\bimport\(\s*'(?<path>\.[^']+)'/g
  const arrow = (path = '', how: Arrow['how']) => ({
    from: file,
    to: posix.join(posix.dirname(file), path),
    how,
  })
  return [
    ...Array.from(text.matchAll(statement), ({ groups }) =>
      arrow(groups?.path, groups?.type ? 'type' : 'value'),
    ),
    ...Array.from(text.matchAll(call), ({ groups }) => arrow(groups?.path, 'dynamic')),
  ]
}

const unitOf = (file: string) => file.replace(/(\/.*|\.ts)$/, '')
const rowOf = (file: string) => rows.findIndex((row) => row.includes(unitOf(file)))
const named = ({ from, to, how }: Arrow) => `${from} → ${to} (${how})`

function isAllowed({ from, to, how }: Arrow): boolean {
  // The metrics need a package that is installed only where they are used.
  if (to === 'metrics.ts') return from === 'cli/admin.ts' && how !== 'value'
  // Metrics count what is announced on the diagnostics channels, and need nothing else but types and checks of options.
  if (unitOf(from) === 'metrics')
    return how === 'type' || ['errors', 'options', 'diagnostics', 'metrics'].includes(unitOf(to))
  if (entries.includes(unitOf(to))) return false
  if (from === 'index.ts') return true
  if (from === 'store-tests.ts' || from === 'redis.ts') return unitOf(to) === 'hub'
  return unitOf(from) === unitOf(to) || rowOf(to) < rowOf(from)
}

/** The imports within a directory that lead back, over other imports, to the file that they come from. */
function cycles(): string[] {
  const within = arrows.filter(({ from, to }) => unitOf(from) === unitOf(to))
  const reaches = (from: string, goal: string, seen = new Set<string>()): boolean =>
    within.some((arrow) => {
      if (arrow.from !== from || seen.has(arrow.to)) return false
      seen.add(arrow.to)
      return arrow.to === goal || reaches(arrow.to, goal, seen)
    })
  return within.filter(({ from, to }) => reaches(to, from)).map(named)
}

function expectNone(faults: readonly unknown[]): void {
  // In its own message chai cuts a long list short.
  expect(faults, faults.join(', ')).to.deep.equal([])
}

describe('the layers of src', () => {
  it('have a row for each directory', () => {
    const units = new Set(files.map(unitOf))
    expect([...rows.flat(), ...entries]).to.include.members([...units])
    expect(arrows).to.have.length.above(files.length)
  })

  it('have no file named utils, types or constants', () => {
    expectNone(files.filter((file) => /(^|\/)(utils?|types?|constants?)\.ts$/.test(file)))
  })

  it('are described in CONTRIBUTING, with a line for each file', () => {
    const document = readFileSync(new URL('../CONTRIBUTING.md', import.meta.url), 'utf8')
    const [, table = ''] = document.split('| file | what it does |')
    const lines = Array.from(
      table.split('\n## ', 1)[0]?.matchAll(/^\| `(.+?)` \|/gm) ?? [],
      ([, name]) => name,
    )
    const shown = files.map((file) => (unitOf(file) === 'demo' ? 'demo/' : file.replace(/\.ts$/, '')))
    expectNone(shown.filter((file) => !lines.includes(file)))
    expectNone(lines.filter((line) => !shown.includes(line ?? '')))
  })

  it('import downwards only', () => {
    expectNone(arrows.filter((arrow) => !isAllowed(arrow)).map(named))
  })

  it('have no cycle within a directory', () => {
    expectNone(cycles())
  })
})
