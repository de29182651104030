// What `npm test` does: build, check, run the tests with coverage, beside them those that take their time, and close with
// mocha's counts.
import { spawnSync } from 'node:child_process'
import { runWithCounts } from './counts.mjs'

const silently = ['run', '--silent']

for (const step of ['build', 'lint']) {
  const options = { stdio: 'inherit', shell: process.platform === 'win32' }
  const status = spawnSync('npm', [...silently, step], options).status ?? 1
  if (status !== 0) {
    console.error(`\nnpm run ${step} failed`)
    process.exit(status)
  }
}
const passed = await runWithCounts(
  ['npm', ...silently, 'test:coverage', '--', ...process.argv.slice(2)],
  ['npm', ...silently, 'test:long', '--', ...process.argv.slice(2)],
)
process.exit(passed ? 0 : 1)
