import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, sep } from 'node:path'

/** The most that is printed of each failed command, so that the summary fits on one screen. */
const shown = { tests: 8, linesOfError: 4, linesOfOutput: 20 }

/**
 * Runs several mocha commands side by side. Prints the failed commands with their failures, and the sum of mocha's counts as
 * the last line. The output of the first command is printed as it arrives, the output of the others after all have ended.
 *
 * @param commands - The name of each command, its program with arguments, and additions to its environment.
 * @returns Whether every command passed. A command without counts or without a test has not passed.
 */
export async function runWithCounts(...commands) {
  return await runWithChecks(commands, { files: [], checks: async () => [] })
}

/**
 * The same, with further checks.
 *
 * @param files - The test files that must have run, each once.
 * @param checks - Runs when the tests have ended. Gives the output of each check, and what has failed.
 */
export async function runWithChecks(commands, { files, checks }) {
  const results = await Promise.all(commands.map((command, n) => runOne(command, n === 0)))
  for (const { output } of results.slice(1)) process.stdout.write(output)
  const checked = await checks()
  for (const { output } of checked) process.stdout.write(output)
  for (const result of results) if (!result.passed) console.log(failureOf(result))
  const failures = checked.map(({ failure }) => failure)
  // A run that has failed may have ended early.
  if (results.every(({ passed }) => passed)) failures.push(...notOnce(files, results))
  for (const failure of failures) if (failure !== undefined) console.log(`\n${failure}`)
  const sum = (name) => results.reduce((total, { counts }) => total + (counts?.[name] ?? 0), 0)
  console.log(`\n${sum('passes')} passed, ${sum('failures')} failed`)
  return results.every(({ passed }) => passed) && failures.every((failure) => failure === undefined)
}

/** A pattern that matches nothing would lose tests without a sound. */
function notOnce(files, results) {
  const run = results.flatMap(({ counts }) => counts?.files ?? [])
  const times = (file) => run.filter((each) => relative('.', each).split(sep).join('/') === file).length
  return files
    .filter((file) => times(file) !== 1)
    .map((file) => `FAILED: ${file} has run ${times(file)} times`)
}

async function runOne({ name, run: [program, ...args], env }, isFirst) {
  const folder = mkdtempSync(join(tmpdir(), 'resilient-sse-'))
  const file = join(folder, 'counts.json')
  const child = spawn(program, args, {
    stdio: ['ignore', isFirst ? 'inherit' : 'pipe', 'pipe'],
    env: { ...process.env, ...env, COUNTS_FILE: file },
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
