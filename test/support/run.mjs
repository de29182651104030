// What `npm test` does: builds, then checks and tests side by side, and measures the coverage of all tests together.
import { readFileSync, rmSync } from 'node:fs'
import { resolve } from 'node:path'
import { runWithChecks } from './counts.mjs'
import { runsOf, testFiles } from './runs.mjs'
import { runScript } from './script.mjs'

const args = process.argv.slice(2)
const { scripts } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
/** Where c8 looks for what Node has measured. */
const folder = resolve('coverage/tmp')

const build = await runScript('build', scripts.build)
if (build.failure) {
  console.error(`${build.output}\n${build.failure}`)
  process.exit(1)
}
rmSync(folder, { recursive: true, force: true })
const lint = runScript('lint', scripts.lint)
const files = testFiles()
const commands = runsOf(files).map((run) => ({
  name: run.name,
  run: [process.execPath, 'node_modules/mocha/bin/mocha.js', ...run.files, ...args],
  env: { NODE_V8_COVERAGE: run.coverage ? folder : '' },
}))
const passed = await runWithChecks(commands, {
  // Arguments such as -g leave tests out.
  files: args.length > 0 ? [] : files,
  checks: async () => [await lint, await runScript('coverage', scripts.coverage)],
})
process.exit(passed ? 0 : 1)
