// Compiles src/wire/scanner.wat into src/wire/scanner-bytes.ts: a string in the source needs no file at run time, so that
// the scanner also works within a bundle.
import { readFileSync, writeFileSync } from 'node:fs'
import wabt from 'wabt'

const source = new URL('../src/wire/scanner.wat', import.meta.url)
const module = (await wabt()).parseWat('scanner.wat', readFileSync(source, 'utf8'))
module.validate()
const bytes = Buffer.from(module.toBinary({}).buffer)
module.destroy()
const text = `/** scanner.wat, compiled by scripts/embed-scanner.mjs: base64. */
export const scannerBytes =
  '${bytes.toString('base64')}'
`
writeFileSync(new URL('../src/wire/scanner-bytes.ts', import.meta.url), text)
