import { rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Inside the project, where Node finds its packages. */
const ownFolder = join(root, '.bundles', String(process.pid))
const made = new Map<string, Promise<string>>()

/** A bundle is not where its sources are, which read other files by their URL, and are imported by it. */
const urlsOfSources: Plugin = {
  name: 'URLs of sources',
  setup({ onLoad, onResolve }) {
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8')
      const url = JSON.stringify(pathToFileURL(path).href)
      return { loader: 'ts', contents: text.replaceAll('import.meta.url', url) }
    })
    onResolve({ filter: /^file:/ }, ({ path }) => ({ path: fileURLToPath(path) }))
  },
}

/**
 * Makes one JavaScript file of a program, once. A process that compiles TypeScript itself needs three times as much of the
 * processor until it runs.
 *
 * @param program - A TypeScript file, from the project's folder, or the text of a module.
 * @param folder - Where the JavaScript is written: in or below a folder in which Node finds the packages.
 * @returns The JavaScript file.
 */
export function bundle(program: string | { text: string }, folder = ownFolder): Promise<string> {
  const key = typeof program === 'string' ? program : program.text
  const known = made.get(key)
  if (known) return known
  if (made.size === 0) process.once('exit', () => rmSync(ownFolder, { recursive: true, force: true }))
  const name = `program-${made.size}`
  const making = write(program, folder, name)
  made.set(key, making)
  return making
}

async function write(program: string | { text: string }, folder: string, name: string): Promise<string> {
  const entry =
    typeof program === 'string'
      ? { entryPoints: [{ in: resolve(root, program), out: name }] }
      : { stdin: { contents: program.text, resolveDir: root, sourcefile: name }, entryNames: name }
  await build({
    ...entry,
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    // What a program imports on demand is a file of its own, as in the sources.
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: `node${process.versions.node}`,
    packages: 'external',
    plugins: [urlsOfSources],
    logLevel: 'silent',
  })
  return join(folder, `${name}.mjs`)
}
