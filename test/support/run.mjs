// What `npm test` does: build, check, run the tests with coverage, and close with mocha's counts.
import { spawnSync } from 'node:child_process'
import { withCounts } from './counts.mjs'

const npm = (args, env) =>
  spawnSync('npm', args, { stdio: 'inherit', env, shell: process.platform === 'win32' }).status ?? 1

for (const step of ['build', 'lint']) {
  const status = npm(['run', '--silent', step], process.env)
  if (status !== 0) {
    console.error(`\nnpm run ${step} failed`)
    process.exit(status)
  }
}
const passed = withCounts((env) =>
  npm(['run', '--silent', 'test:coverage', '--', ...process.argv.slice(2)], env),
)
process.exit(passed ? 0 : 1)
