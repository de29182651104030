import { spawn } from 'node:child_process'

/** What is printed of a failed command once more, so that the summary fits on one screen. */
const linesOfOutput = 8

/**
 * Runs a script of package.json: one of its commands after the other, to name the one that fails. Some of them say nothing of
 * themselves.
 *
 * @returns {Promise<{ output: string, failure: string | undefined }>} The output so far, and what has failed.
 */
export async function runScript(name, script) {
  let output = ''
  for (const command of script.split(' && ')) {
    const ended = await run(command)
    output += ended.output
    if (ended.status === 0) continue
    const end = ended.output.trimEnd().split('\n').slice(-linesOfOutput).join('\n')
    return { output, failure: `FAILED: ${command} (of npm run ${name}, exit status ${ended.status})\n${end}` }
  }
  return { output, failure: undefined }
}

async function run(command) {
  const child = spawn(command, { shell: true, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  const status = await new Promise((resolve) => {
    child.on('close', (code, signal) => resolve(code ?? signal))
  })
  return { status, output }
}
