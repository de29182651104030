// Which test files one mocha runs. Several run side by side, since most tests wait: for processes, timers and sockets.
import { readdirSync } from 'node:fs'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * The runs, with the files or folders of each. A test file belongs to the first run that names it or a folder of it; the
 * last run has every file that no other has. Coverage is measured where the code under test runs in mocha's own process.
 */
const runs = [
  { name: 'the tests of hubs', coverage: true, holds: ['test/hub/'] },
  {
    name: 'the tests with programs',
    coverage: true,
    holds: ['test/integration/', 'test/security/', 'test/readme.test.ts'].concat(
      ['drain', 'gateway', 'main', 'redis', 'share'].map((name) => `test/cli/${name}.test.ts`),
    ),
  },
  { name: 'the tests of memory', coverage: false, holds: ['test/chaos/', 'test/memory/'] },
  {
    name: 'the tests of many streams and of pages',
    coverage: false,
    holds: ['test/docs/', 'test/soak/', 'test/stampede/'],
  },
  {
    name: 'the tests of fleets of commands',
    coverage: false,
    holds: ['command', 'example', 'fleet'].map((name) => `test/fleet/${name}.test.ts`),
  },
  { name: 'the tests of fleets', coverage: false, holds: ['test/fleet/'] },
  { name: 'all other tests', coverage: true, holds: ['test/'] },
]

/** @returns {string[]} Every test file of `npm test`, from the package's folder. Those of `npm run test:field` are left out. */
export function testFiles(tests = fileURLToPath(new URL('..', import.meta.url))) {
  // The packages of test/field link this package, so that a listing of its folders has no end.
  const folders = readdirSync(tests, { withFileTypes: true }).filter(({ name }) => name !== 'field')
  return folders
    .flatMap((entry) => (entry.isDirectory() ? filesIn(tests, entry.name) : [entry.name]))
    .map((name) => `test/${name.split(sep).join('/')}`)
    .filter((name) => name.endsWith('.test.ts'))
    .sort()
}

const filesIn = (tests, folder) =>
  readdirSync(join(tests, folder), { recursive: true }).map((name) => join(folder, name))

/** @returns {{ name: string, coverage: boolean, files: string[] }[]} The runs with their files: each file is in one of them. */
export function runsOf(files) {
  const runOf = (file) => runs.find(({ holds }) => holds.some((start) => file.startsWith(start)))
  return runs.map((run) => ({ ...run, files: files.filter((file) => runOf(file) === run) }))
}
