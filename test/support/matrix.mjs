// What `npm run test:matrix` does: the same tests on each supported line of Node, from npm's builds of Node.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { runWithChecks } from './counts.mjs'
import { runsOf, testFiles } from './runs.mjs'

const manifest = createRequire(import.meta.url).resolve('mocha/package.json')
const mocha = join(dirname(manifest), 'bin', 'mocha.js')
const lines = process.argv.length > 2 ? process.argv.slice(2) : ['22', '24', '26']

// The examples and the command are run as built.
const { status } = spawnSync('npm', ['run', '--silent', 'build'], {
  stdio: 'inherit',
  shell: process.platform === 'win32',
})
if (status !== 0) process.exit(status ?? 1)

for (const line of lines) {
  const build = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}@${line}`
  console.log(`\n# Node ${line} (${build})`)
  const files = testFiles()
  const commands = runsOf(files).map((run) => ({
    name: `${run.name}, on Node ${line}`,
    run: ['npm', 'exec', '--yes', `--package=${build}`, '--', 'node', mocha, ...run.files],
  }))
  const passed = await runWithChecks(commands, { files, checks: async () => [] })
  if (!passed) process.exit(1)
}
