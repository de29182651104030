// Compares the public types of each entry of package.json with the reports in etc/, so that a review sees each change of
// the types. With --write it writes the reports. The types are those of dist/, which `npm run build` makes.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Extractor, ExtractorConfig } from '@microsoft/api-extractor'

const root = fileURLToPath(new URL('..', import.meta.url))
const reports = join(root, 'etc')
const { write } = parseArgs({ options: { write: { type: 'boolean', default: false } } }).values
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const folder = mkdtempSync(join(tmpdir(), 'resilient-sse-api-'))

/** Writes the report of a file of types into a folder. */
function report(types, into) {
  const config = ExtractorConfig.prepare({
    configObjectFullPath: undefined,
    packageJsonFullPath: join(root, 'package.json'),
    configObject: {
      projectFolder: root,
      mainEntryPointFilePath: join(root, types),
      compiler: { tsconfigFilePath: join(root, 'tsconfig.build.json') },
      newlineKind: 'lf',
      apiReport: {
        enabled: true,
        // What a public type is made of belongs to the report: most options are a type of a table that is not exported.
        includeForgottenExports: true,
        reportFileName: `${basename(types, '.d.ts')}.api.md`,
        reportFolder: into,
        reportTempFolder: join(folder, 'temp'),
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
    },
  })
  const quiet = (message) => {
    message.handled = message.logLevel !== 'error'
  }
  const { succeeded } = Extractor.invoke(config, { localBuild: true, messageCallback: quiet })
  if (!succeeded) throw new Error(`no report of ${types}`)
}

try {
  const made = join(folder, 'etc')
  mkdirSync(made)
  for (const { types } of Object.values(exports)) if (types) report(types, made)
  if (write) {
    rmSync(reports, { recursive: true, force: true })
    cpSync(made, reports, { recursive: true })
  } else {
    const { status } = spawnSync('git', ['diff', '--no-index', '--', reports, made], { stdio: 'inherit' })
    if (status !== 0) {
      console.error(
        'The public types are not those of etc/. When the change is wanted: npm run api-report -- --write',
      )
      process.exitCode = 1
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
