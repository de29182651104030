// What `npm run test:field` does: installs the programs and packages that the tests run, builds the library, links it as a
// package, and runs the tests.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync, symlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { runWithCounts } from '../support/counts.mjs'
import { missingPrograms } from './support/programs.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('../..', import.meta.url))

function run(cwd, command, ...args) {
  const { status } = spawnSync(command, args, { cwd, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status === 0) return
  console.error(`\nFAILED: ${command} ${args.join(' ')}`)
  process.exit(status ?? 1)
}

/** Installs what is missing where that is possible without a question. */
function installPrograms() {
  const missing = missingPrograms()
  if (missing.length === 0) return
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) {
    console.error(`Not installed: ${missing.join(', ')}. On Debian: apt-get install ${missing.join(' ')}`)
    process.exit(1)
  }
  process.env.DEBIAN_FRONTEND = 'noninteractive'
  run(root, 'apt-get', 'update', '-qq')
  run(root, 'apt-get', 'install', '-qq', '-y', '--no-install-recommends', ...missing)
}

/** Whether a file is there that is no older than others. */
const isCurrent = (made, ...from) =>
  existsSync(made) && from.every((file) => statSync(made).mtimeMs >= statSync(file).mtimeMs)

/** Node with its arguments: 24 or later (AsyncDisposableStack); an older Node runs npm's build of 24. */
function node(...args) {
  if (Number.parseInt(process.versions.node, 10) >= 24) return [process.execPath, ...args]
  return [
    'npm',
    'exec',
    '--yes',
    `--package=node-${process.platform}-${process.arch}@24`,
    '--',
    'node',
    ...args,
  ]
}

installPrograms()
if (!isCurrent(`${here}node_modules/.package-lock.json`, `${here}package-lock.json`)) run(here, 'npm', 'ci')
// As a package, so that the tests import it by its name and through its `exports`. No entry of package.json: the lock file
// would then hold the library's own dependencies, and would have to follow them.
const linked = `${here}node_modules/resilient-sse`
if (!existsSync(linked)) symlinkSync(root, linked, 'junction')
const sources = readdirSync(`${root}src`, { recursive: true }).map((name) => `${root}src/${name}`)
if (!isCurrent(`${root}dist/index.js`, ...sources)) run(root, 'npm', 'run', '--silent', 'build')
run(root, 'npx', 'tsc', '-p', 'test/field')
run(root, 'npx', 'tsc', '-p', 'test/field/examples')
process.chdir(here)
const mocha = `${root}node_modules/mocha/bin/mocha.js`
const passed = await runWithCounts({
  name: 'npm run test:field',
  run: node(mocha, '*.test.ts', ...process.argv.slice(2)),
})
process.exit(passed ? 0 : 1)
