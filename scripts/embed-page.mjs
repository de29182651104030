// Writes the page of the demonstration, src/demo/page, into src/demo/page-files.ts: strings in the source need no files at run
// time, so that the page is also there within a bundle. TypeScript is compiled, everything else stays as it is.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import ts from 'typescript'

const folder = new URL('../src/demo/page/', import.meta.url)
const types = {
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  svg: 'image/svg+xml',
  ts: 'text/javascript; charset=utf-8',
}
const compilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ES2022,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true,
}

function fileOf(name) {
  const kind = name.slice(name.lastIndexOf('.') + 1)
  if (!Object.hasOwn(types, kind)) return []
  const source = readFileSync(new URL(name, folder), 'utf8')
  const path = name === 'index.html' ? '/' : `/${name.replace(/\.ts$/, '.js')}`
  const text = kind === 'ts' ? ts.transpileModule(source, { compilerOptions }).outputText : source
  return [[path, { type: types[kind], text }]]
}

const files = readdirSync(folder).sort().flatMap(fileOf)
const text = `/** The page of the demonstration by the paths of its parts: src/demo/page, written by scripts/embed-page.mjs. */
export const pageFiles: ReadonlyMap<string, { readonly type: string; readonly text: string }> = new Map(
  ${JSON.stringify(files, null, 2).replaceAll('\n', '\n  ')},
)
`
writeFileSync(new URL('../src/demo/page-files.ts', import.meta.url), text)
