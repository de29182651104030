import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The most that is printed of each failed command, so that the summary fits on one screen. */
const shown = { tests: 8, linesOfError: 4, linesOfOutput: 20 }

/**
 * Runs several mocha commands side by side. Prints the failed commands with their failures, and the sum of mocha's counts as
 * the last line. The output of the first command is printed as it arrives, the output of the others after all have ended.
 *
 * @param commands - The name of each command, and its program with arguments.
 * @returns Whether every command passed. A command without counts or without a test has not passed.
 */
export async function runWithCounts(...commands) {
  const results = await Promise.all(commands.map((command, n) => runOne(command, n === 0)))
  for (const { output } of results.slice(1)) process.stdout.write(output)
  for (const result of results) if (!result.passed) console.log(failureOf(result))
  const sum = (name) => results.reduce((total, { counts }) => total + (counts?.[name] ?? 0), 0)
  console.log(`\n${sum('passes')} passed, ${sum('failures')} failed`)
  return results.every(({ passed }) => passed)
}

async function runOne({ name, run: [program, ...args] }, isFirst) {
  const folder = mkdtempSync(join(tmpdir(), 'resilient-sse-'))
  const file = join(folder, 'counts.json')
  const child = spawn(program, args, {
    stdio: ['ignore', isFirst ? 'inherit' : 'pipe', 'pipe'],
    env: { ...process.env, COUNTS_FILE: file },
    shell: process.platform === 'win32',
  })
  let output = ''
  let errors = ''
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    if (isFirst) process.stderr.write(text)
    output += text
    errors += text
  })
  const status = await new Promise((resolve) => {
    child.on('error', (error) => {
      errors += error.message
      resolve(1)
    })
    child.on('close', (code, signal) => resolve(code ?? signal))
  })
  const counts = readCounts(file)
  rmSync(folder, { recursive: true, force: true })
  const passed = status === 0 && counts !== undefined && counts.failures === 0 && counts.passes > 0
  return { name, status, counts, errors, output, passed }
}

/** @returns Undefined when mocha did not finish, and so did not write its counts. */
function readCounts(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/** The failed tests; without a failed test, the end of the standard error, such as a crash or missing coverage. */
function failureOf({ name, status, counts, errors }) {
  const failed = counts?.failed ?? []
  const tests = failed.slice(0, shown.tests).map(({ title, error }, n) => {
    const lines = error.split('\n').slice(0, shown.linesOfError)
    return `  ${n + 1}) ${title}\n${lines.map((line) => `     ${line.trim()}\n`).join('')}`
  })
  if (failed.length > shown.tests) tests.push(`  and ${failed.length - shown.tests} more, see above\n`)
  const why = counts === undefined ? ', mocha did not finish' : ''
  const rest =
    failed.length > 0 ? '' : `${errors.trimEnd().split('\n').slice(-shown.linesOfOutput).join('\n')}\n`
  return `\nFAILED: ${name} (exit status ${status}${why})\n${tests.join('')}${rest}`.trimEnd()
}
