import { execFile } from 'node:child_process'
import { chmod, cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('..', import.meta.url))

interface Ended {
  readonly code: number | null
  /** Standard output. */
  readonly output: string
}

async function run(program: string, args: readonly string[], path = process.env.PATH): Promise<Ended> {
  return await new Promise((resolve) => {
    const child = execFile(program, args, { env: { ...process.env, PATH: path } }, (_, output) => {
      resolve({ code: child.exitCode, output })
    })
  })
}

/** A folder that is removed at the end of the scope. */
async function folder() {
  const path = await mkdtemp(join(tmpdir(), 'resilient-sse-'))
  return { path, [Symbol.asyncDispose]: async () => await rm(path, { recursive: true }) }
}

describe('.ci/run', () => {
  /** Runs a copy of it with a program of ours in place of npm, which is told the arguments as `$*`. */
  async function runWith(npm: string): Promise<Ended> {
    await using copy = await folder()
    await mkdir(join(copy.path, '.ci'))
    await cp(join(root, '.ci/run'), join(copy.path, '.ci/run'))
    await writeFile(join(copy.path, 'npm'), `#!/bin/sh\necho "npm $*"\n${npm}\n`)
    await chmod(join(copy.path, 'npm'), 0o755)
    return await run(join(copy.path, '.ci/run'), [], copy.path + delimiter + process.env.PATH)
  }

  it('runs every step, and closes with the sum of the counts', async () => {
    const { code, output } = await runWith('case "$*" in *test*) printf "12 passed, 0 failed\\n";; esac')
    expect(output.match(/^npm .*/gm)).to.deep.equal([
      'npm ci',
      'npm test',
      'npm run test:matrix',
      'npm run test:field',
      'npm run bench -- --quick',
    ])
    expect(output).to.match(/\n36 passed, 0 failed\n$/)
    expect(code).to.equal(0)
  })

  it('stops at the step that fails, and closes with its name and the counts', async () => {
    const { code, output } = await runWith('[ "$1" = ci ] || { printf "11 passed, 1 failed\\n"; exit 3; }')
    expect(output).to.match(/\nFAILED: npm test\n11 passed, 1 failed\n$/)
    expect(code).to.equal(1)
  })

  it('prints no counts when no test has run', async () => {
    const { code, output } = await runWith('exit 1')
    expect(output).to.match(/npm ci\n\nFAILED: npm ci\n$/)
    expect(code).to.equal(1)
  })
})

describe('the closing lines of a test run', () => {
  /**
   * What they are for mocha files with these texts, each run by a mocha of its own.
   *
   * @param files - Which file each of the runs has, by its number.
   * @param expected - The files that must have run, by their numbers.
   */
  async function closingLines(
    tests: readonly string[],
    files: readonly number[] = [...tests.keys()],
    expected: readonly number[] = [],
  ): Promise<Ended> {
    await using place = await folder()
    const fileOf = (n: number) => join(place.path, `${n}.mjs`)
    const mocha = [join(root, 'node_modules/mocha/bin/mocha.js'), '--no-config', '--reporter']
    for (const [n, test] of tests.entries()) await writeFile(fileOf(n), test)
    const reporter = join(root, 'test/support/reporter.mjs')
    const commands = files.map((file, n) => ({
      name: `run ${n}`,
      run: [process.execPath, ...mocha, reporter, fileOf(file)],
    }))
    const mustRun = expected.map((n) => relative(root, fileOf(n)).split(sep).join('/'))
    const script = `import { runWithChecks } from ${JSON.stringify(new URL('support/counts.mjs', import.meta.url))}
      const checks = { files: ${JSON.stringify(mustRun)}, checks: async () => [] }
      process.exit((await runWithChecks(${JSON.stringify(commands)}, checks)) ? 0 : 1)`
    const { code, output } = await run(process.execPath, ['--input-type=module', '--eval', script])
    return { code, output: output.slice(Math.max(0, output.lastIndexOf('FAILED: '))) }
  }

  it('name each test that failed, with its error, and count all runs', async () => {
    const { code, output } = await closingLines([
      "it('is right', () => {})",
      "describe('it', () => { it('is wrong', () => { throw new Error('of a reason') }) })",
    ])
    expect(output).to.match(/^FAILED: run 1 \(exit status 1\)\n {2}1\) it is wrong\n {5}Error: of a reason\n/)
    expect(output).to.match(/\n1 passed, 1 failed\n$/)
    expect(code).to.equal(1)
  })

  it('show the error of a run that ended before its tests', async () => {
    const { code, output } = await closingLines(["throw new Error('at the start')"])
    expect(output).to.match(/^FAILED: run 0 \(exit status 1, mocha did not finish\)\n/)
    expect(output).to.include('Error: at the start')
    expect(output).to.match(/\n0 passed, 0 failed\n$/)
    expect(code).to.equal(1)
  })

  it('are only the counts when every test passed', async () => {
    const { code, output } = await closingLines(["it('is right', () => {})", "it('is right', () => {})"])
    expect(output).to.match(/\n2 passed, 0 failed\n$/)
    expect(output).not.to.include('FAILED')
    expect(code).to.equal(0)
  })

  for (const [how, files, times] of [
    ['in no run', [0], 0],
    ['in two runs', [0, 1, 1], 2],
  ] as const) {
    it(`name a test file that was ${how}`, async () => {
      const test = "it('is right', () => {})"
      const { code, output } = await closingLines([test, test], files, [0, 1])
      expect(output).to.match(new RegExp(`^FAILED: .*/1.mjs has run ${times} times\\n`))
      expect(output).to.include(`\n${files.length} passed, 0 failed\n`)
      expect(code).to.equal(1)
    })
  }
})

describe('the runs of npm test', () => {
  it('have each test file once', async () => {
    const script = `import { runsOf, testFiles } from ${JSON.stringify(new URL('support/runs.mjs', import.meta.url))}
      console.log(runsOf(testFiles()).flatMap(({ files }) => files).join('\\n'))`
    const { output } = await run(process.execPath, ['--input-type=module', '--eval', script])
    const ofNpmTest: string[] = []
    for (const folder of (await readdir(join(root, 'test'))).filter((name) => name !== 'field')) {
      const place = join(root, 'test', folder)
      const names = folder.includes('.') ? [''] : await readdir(place, { recursive: true })
      const tests = names.map((name) => relative(root, join(place, name)).split(sep).join('/'))
      ofNpmTest.push(...tests.filter((name) => name.endsWith('.test.ts')))
    }
    expect(output.trimEnd().split('\n')).to.have.members(ofNpmTest)
  })

  it('are found although the packages of test/field link this package', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'resilient-sse-'))
    try {
      await mkdir(join(folder, 'field', 'node_modules'), { recursive: true })
      await symlink(folder, join(folder, 'field', 'node_modules', 'resilient-sse'), 'junction')
      await mkdir(join(folder, 'hub'))
      for (const name of ['a.test.ts', 'hub/b.test.ts', 'field/c.test.ts', 'hub/d.ts'])
        await writeFile(join(folder, name), '')
      const script = `import { testFiles } from ${JSON.stringify(new URL('support/runs.mjs', import.meta.url))}
        console.log(testFiles(${JSON.stringify(folder)}).join(' '))`
      const { output } = await run(process.execPath, ['--input-type=module', '--eval', script])
      expect(output.trim()).to.equal('test/a.test.ts test/hub/b.test.ts')
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
