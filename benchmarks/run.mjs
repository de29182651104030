// What `npm run bench` does: install what the benchmarks compare with, build the library, and run them.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('..', import.meta.url))

const run = (command, args, cwd) => {
  // Only the results go to the standard output.
  const { status } = spawnSync(command, args, {
    cwd,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  })
  if (status !== 0) process.exit(status ?? 1)
}

/** Whether a file is there that is no older than others. */
const isCurrent = (made, ...from) =>
  existsSync(made) && from.every((file) => statSync(made).mtimeMs >= statSync(file).mtimeMs)

if (!isCurrent(`${here}node_modules/.package-lock.json`, `${here}package-lock.json`)) {
  run('npm', ['ci', '--no-audit', '--no-fund'], here)
}
const sources = readdirSync(`${root}src`, { recursive: true }).map((name) => `${root}src/${name}`)
if (!isCurrent(`${root}dist/index.js`, ...sources)) run('npm', ['run', '--silent', 'build'], root)
const { status } = spawnSync(process.execPath, ['--import', 'tsx', 'bench.ts', ...process.argv.slice(2)], {
  cwd: here,
  stdio: 'inherit',
})
process.exit(status ?? 1)
