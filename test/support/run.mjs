// What `npm test` does: build, check, run the tests with coverage and, side by side with them, the tests that take long.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { runWithCounts } from './counts.mjs'

const { scripts } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

for (const script of ['build', 'lint']) {
  // One command at a time, to name the one that fails: some of them say nothing of themselves.
  for (const command of scripts[script].split(' && ')) {
    const status = spawnSync(command, { stdio: 'inherit', shell: true }).status ?? 1
    if (status !== 0) {
      console.error(`\nFAILED: ${command} (of npm run ${script}, exit status ${status})`)
      process.exit(status)
    }
  }
}
const tests = (script) => ({
  name: `npm run ${script}`,
  run: ['npm', 'run', '--silent', script, '--', ...process.argv.slice(2)],
})
process.exit((await runWithCounts(tests('test:coverage'), tests('test:long'), tests('test:fleet'))) ? 0 : 1)
