import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Calls `run` with an environment in which mocha's reporter leaves its counts, then prints them as the closing line.
 * Returns whether everything passed; a run without counts, or without a test, did not.
 */
export function withCounts(run) {
  const folder = mkdtempSync(join(tmpdir(), 'resilient-sse-'))
  const file = join(folder, 'counts.json')
  let status = 1
  let counts = { passes: 0, failures: 0 }
  try {
    status = run({ ...process.env, COUNTS_FILE: file })
    counts = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    console.error(`no counts: ${error.message}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  console.log(`\n${counts.passes} passed, ${counts.failures} failed`)
  return status === 0 && counts.failures === 0 && counts.passes > 0
}
