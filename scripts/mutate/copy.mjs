// A copy of the package in which mutants are tested.
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'

/** Whatever has to be undone when the run ends or is interrupted: copies of the package, and running tests. */
const cleanups = new Set()
export function cleanUp() {
  for (const cleanup of cleanups) cleanup()
}

/** A copy of the package in which mutants are tested: the sources themselves are never changed. */
export class Copy {
  #root
  #path = mkdtempSync(join(tmpdir(), 'mutants-'))

  /** @param {string} root - The folder of the package. */
  constructor(root) {
    this.#root = root
    cleanups.add(() => rmSync(this.#path, { recursive: true, force: true }))
    const left = ['node_modules', '.git', 'dist', 'coverage', '.bundles']
    cpSync(root, this.#path, { recursive: true, filter: (from) => !left.includes(relative(root, from)) })
    symlinkSync(join(root, 'node_modules'), join(this.#path, 'node_modules'))
  }

  /** @returns `'passed'`, `'failed'`, or `'timed out'`. */
  test(tests, timeout) {
    const mocha = '--no-config --extension ts --require ./test/support/hooks.ts --exit --bail --timeout 5000'
    return this.#run(
      ['--import=tsx', 'node_modules/mocha/bin/mocha.js', ...mocha.split(' '), ...tests],
      timeout,
    )
  }

  /** Tests a mutant; what survives is shown to the compiler as well. */
  async judge({ file, mutated }, tests, timeout) {
    const path = join(this.#path, file)
    writeFileSync(path, mutated)
    try {
      const verdict = await this.test(tests, timeout)
      if (verdict !== 'passed') return verdict
      const tsc =
        'node_modules/@typescript/native/bin/tsc -p tsconfig.build.json --noEmit --noUnusedLocals false'
      return (await this.#run(tsc.split(' '), timeout)) === 'failed' ? 'not compiled' : 'survived'
    } finally {
      writeFileSync(path, readFileSync(join(this.#root, file)))
    }
  }

  #run(args, timeout) {
    // A process group of its own: tests start processes, and a mutant may never end.
    const child = spawn(process.execPath, args, { cwd: this.#path, stdio: 'ignore', detached: true })
    const kill = () => {
      try {
        process.kill(-child.pid, 'SIGKILL')
      } catch {
        // All of them have ended.
      }
    }
    cleanups.add(kill)
    return new Promise((resolve, reject) => {
      let isLate = false
      const timer = setTimeout(() => {
        isLate = true
        kill()
      }, timeout)
      child.on('error', reject).on('exit', (status) => {
        clearTimeout(timer)
        kill()
        cleanups.delete(kill)
        resolve(isLate ? 'timed out' : status === 0 ? 'passed' : 'failed')
      })
    })
  }
}
