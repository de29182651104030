// Tests the tests: makes one small fault at a time in a copy of the sources, and lists the faults that no test notices.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Copy, cleanUp } from './mutate/copy.mjs'
import { mutantsOf } from './mutate/mutants.mjs'

const help = `npm run mutate -- [folder, file, or file:line below src] … [option] …

  --limit <n>   tests n mutants, taken at random; default: all
  --seed <n>    which ones; default 1
  --jobs <n>    how many at a time; default 2

Exits with 1 when a mutant survives that scripts/mutate/survivors.json does not name. An entry there names the file, the
line, what it becomes (absent: whatever it becomes), and why no test should notice.
`
const root = fileURLToPath(new URL('..', import.meta.url))
const defaultFolders = ['src/reconnect', 'src/resume', 'src/wire', 'src/upstream', 'src/relay', 'src/proxy']

/** What tests a folder, or a file, besides the tests of the same name. */
const alsoTests = {
  'src/reconnect': [
    'test/source.test.ts',
    'test/integration/diagnostics.test.ts',
    'test/integration/teardown.test.ts',
    'test/integration/backpressure.test.ts',
    'test/relay/relay.test.ts',
  ],
  'src/reconnect/intake.ts': ['test/integration/pass-through.test.ts'],
  'src/resume': [
    'test/reconnect/cursor.test.ts',
    'test/reconnect/duplicates.test.ts',
    'test/reconnect/stats.test.ts',
    'test/source.test.ts',
    'test/integration/pass-through.test.ts',
  ],
  'src/wire': [
    'test/reconnect/never.test.ts',
    'test/integration/pass-through.test.ts',
    'test/fuzz/fuzz.test.ts',
  ],
  'src/upstream': [
    'test/reconnect/attempt.test.ts',
    'test/reconnect/initial-response.test.ts',
    'test/reconnect/reconnecting-stream.test.ts',
    'test/integration/backpressure.test.ts',
  ],
  'src/relay': ['test/integration/pass-through.test.ts', 'test/security/faults.test.ts'],
  // The defaults of options are compared with the documents.
  'src/hub/options.ts': ['test/readme.test.ts'],
  'src/reconnect/options.ts': ['test/readme.test.ts'],
  'src/relay/options.ts': ['test/readme.test.ts'],
  'src/proxy/options.ts': ['test/readme.test.ts'],
  'src/hub/store-tests': ['test/hub/memory-store.test.ts', 'test/hub/broken-stores.test.ts'],
  'src/proxy': [
    'test/security/hostile-client.test.ts',
    'test/security/hostile-upstream.test.ts',
    'test/security/faults.test.ts',
  ],
}

/** The tests of a source file, those of the same name first, since they fail first. */
function testsOf(file) {
  const folder = dirname(file)
  const testFolder = folder.replace(/^src/, 'test')
  const isTest = (name) => name.endsWith('.test.ts')
  const beside = existsSync(join(root, testFolder)) ? readdirSync(join(root, testFolder)).filter(isTest) : []
  const own = file.replace(/^src/, 'test').replace(/\.ts$/, '.test.ts')
  const tests = [own, ...beside.map((name) => `${testFolder}/${name}`)]
  tests.push(...(alsoTests[folder] ?? []), ...(alsoTests[file] ?? []))
  const existing = [...new Set(tests)].filter((test) => existsSync(join(root, test)))
  if (existing.length === 0) throw new Error(`no test of ${file} is known: add it to alsoTests`)
  return existing
}

function sourcesBelow(path) {
  if (!statSync(join(root, path)).isDirectory()) return [path]
  return readdirSync(join(root, path), { recursive: true })
    .filter((name) => name.endsWith('.ts') && !/(scanner-bytes|page-files)\.ts$/.test(name))
    .map((name) => `${path}/${name.split(sep).join('/')}`)
    .sort()
}

/** @param {string} place - A folder, a file, or a line of one. */
function mutantsAt(place) {
  const [path, line] = place.split(':')
  return sourcesBelow(path)
    .flatMap((file) => mutantsOf(file, readFileSync(join(root, file), 'utf8')))
    .filter(({ number }) => line === undefined || number === Number(line))
}

/** Shuffles, the same way for the same seed (mulberry32). */
function shuffled(items, seed) {
  let state = seed
  const random = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const left = [...items]
  return items.map(() => left.splice(Math.floor(random() * left.length), 1)[0])
}

/** How long the tests may take with a mutant: what they take without one, and time for two tests that wait in vain. */
async function limitsOf(files, copy) {
  const limits = new Map()
  for (const file of files) {
    const tests = testsOf(file)
    const key = String([...tests].sort())
    if (!limits.has(key)) {
      const start = performance.now()
      const verdict = await copy.test(tests, 600_000)
      if (verdict !== 'passed')
        throw new Error(`without a mutant these tests have ${verdict}: ${tests.join(' ')}`)
      limits.set(key, 15_000 + 3 * (performance.now() - start))
    }
    limits.set(file, limits.get(key))
  }
  return limits
}

function readReasons() {
  return JSON.parse(readFileSync(join(root, 'scripts/mutate/survivors.json'), 'utf8'))
}

const isSame = (reason, mutant) =>
  reason.file === mutant.file &&
  reason.line === mutant.line &&
  (reason.becomes === undefined || reason.becomes === mutant.becomes)

function report(results) {
  const files = [...new Set(results.map(({ mutant }) => mutant.file))].sort()
  const count = (file, verdict) =>
    results.filter((result) => result.mutant.file === file && result.verdict === verdict).length
  const verdicts = ['failed', 'timed out', 'not compiled', 'with a reason', 'survived']
  console.table(
    files.map((file) => ({
      file,
      ...Object.fromEntries(verdicts.map((verdict) => [verdict, count(file, verdict)])),
    })),
  )
  const survivors = results.filter(({ verdict }) => verdict === 'survived')
  for (const { mutant } of survivors) {
    console.log(`\n${mutant.file}:${mutant.number}\n- ${mutant.line}\n+ ${mutant.becomes}`)
  }
  const tested = results.filter(({ verdict }) => verdict !== 'with a reason').length
  const noticed = tested - survivors.length
  const share = ((100 * noticed) / Math.max(1, tested)).toFixed(1)
  console.log(
    `\n${noticed} of ${tested} mutants noticed (${share} %), ${results.length - tested} have a reason`,
  )
  return survivors.length === 0
}

/** Lists the reasons that belong to no mutant, since the line has changed. */
function reportOutdated(reasons) {
  for (const reason of reasons) {
    const { file, line, becomes = '(anything)' } = reason
    const mutants = existsSync(join(root, file)) ? mutantsAt(file) : []
    if (mutants.some((mutant) => isSame(reason, mutant))) continue
    console.log(`\nno such mutant any more: ${file}\n- ${line}\n+ ${becomes}`)
  }
}

async function main({ values, positionals }) {
  const mutants = (positionals.length > 0 ? positionals : defaultFolders).flatMap(mutantsAt)
  const chosen = values.limit
    ? shuffled(mutants, Number(values.seed)).slice(0, Number(values.limit))
    : mutants
  const reasons = readReasons()
  const isKnown = (mutant) => reasons.some((reason) => isSame(reason, mutant))
  const results = chosen.filter(isKnown).map((mutant) => ({ mutant, verdict: 'with a reason' }))
  const waiting = chosen.filter((mutant) => !isKnown(mutant))
  const total = waiting.length
  const copies = Array.from({ length: Number(values.jobs) }, () => new Copy(root))
  const limits = await limitsOf(new Set(waiting.map(({ file }) => file)), copies[0])
  await Promise.all(
    copies.map(async (copy) => {
      for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
        const verdict = await copy.judge(mutant, testsOf(mutant.file), limits.get(mutant.file))
        results.push({ mutant, verdict })
        const { file, number, becomes } = mutant
        console.log(`${total - waiting.length}/${total} ${verdict}: ${file}:${number} ${becomes}`)
      }
    }),
  )
  reportOutdated(reasons)
  return report(results)
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    cleanUp()
    process.exit(130)
  })
}
const options = {
  limit: { type: 'string' },
  seed: { type: 'string', default: '1' },
  jobs: { type: 'string', default: '2' },
  help: { type: 'boolean', short: 'h' },
}
const args = parseArgs({ options, allowPositionals: true })
if (args.values.help) {
  process.stdout.write(help)
} else {
  try {
    process.exitCode = (await main(args)) ? 0 : 1
  } finally {
    cleanUp()
  }
}
