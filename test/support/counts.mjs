import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Runs commands side by side, in each of which mocha's reporter leaves its counts, then prints the sum as the closing line.
 * What the first one writes is seen at once, that of the others after their end.
 *
 * @returns Whether everything passed; a run without counts, or without a test, did not.
 */
export async function runWithCounts(...commands) {
  const results = await Promise.all(commands.map((command, n) => runOne(command, n === 0)))
  for (const { output } of results) process.stdout.write(output)
  const sum = (name) => results.reduce((total, { counts }) => total + counts[name], 0)
  console.log(`\n${sum('passes')} passed, ${sum('failures')} failed`)
  return results.every(({ status, counts }) => status === 0 && counts.failures === 0 && counts.passes > 0)
}

async function runOne([program, ...args], seen) {
  const folder = mkdtempSync(join(tmpdir(), 'resilient-sse-'))
  const file = join(folder, 'counts.json')
  const child = spawn(program, args, {
    stdio: ['ignore', seen ? 'inherit' : 'pipe', seen ? 'inherit' : 'pipe'],
    env: { ...process.env, COUNTS_FILE: file },
    shell: process.platform === 'win32',
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  const status = await new Promise((resolve) => {
    child.on('error', () => resolve(1)).on('close', (code) => resolve(code ?? 1))
  })
  let counts = { passes: 0, failures: 0 }
  try {
    counts = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    output += `no counts: ${error.message}\n`
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return { status, counts, output }
}
