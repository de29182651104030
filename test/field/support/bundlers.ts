import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as esbuild from 'esbuild'
import * as tsup from 'tsup'
import webpack from 'webpack'
import { startProcess } from '../../support/child.ts'

export type Format = 'esm' | 'cjs'

/** Makes the program `name` of a module and all its packages in a folder. */
type Bundler = (entry: string, folder: string, name: string, format: Format) => Promise<unknown>

/**
 * What esbuild, and tsup on top of it, need for an ES module: packages in CommonJS (here debug, which requires `tty`) keep
 * their calls of `require`, which an ES module does not have.
 */
export const banner =
  "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)"

const cwd = fileURLToPath(new URL('..', import.meta.url))

export const bundlers: Readonly<Record<string, Bundler>> = {
  esbuild: (entry, folder, name, format) =>
    esbuild.build({
      entryPoints: [entry],
      outfile: join(folder, name),
      bundle: true,
      platform: 'node',
      format,
      logLevel: 'silent',
      ...(format === 'esm' && { banner: { js: banner } }),
    }),

  async rollup(entry, folder, name, format) {
    const plugins = ['--plugin', 'node-resolve', '--plugin', 'commonjs']
    const output = ['--file', join(folder, name), '--format', format, '--inlineDynamicImports']
    const args = ['node_modules/rollup/dist/bin/rollup', entry, ...plugins, ...output]
    await using program = startProcess(args, {}, cwd)
    const { code, err } = await program.ended
    if (code !== 0) throw new Error(err)
  },

  webpack: (entry, folder, name, format) =>
    new Promise((resolve, reject) => {
      const output = { path: folder, filename: name }
      webpack(
        {
          mode: 'production',
          target: 'node',
          context: cwd,
          entry,
          ...(format === 'esm'
            ? {
                experiments: { outputModule: true },
                output: { ...output, module: true, library: { type: 'module' } },
              }
            : { output: { ...output, library: { type: 'commonjs2' } } }),
        },
        (error, stats) =>
          error || stats?.hasErrors() ? reject(error ?? new Error(stats?.toString())) : resolve(stats),
      )
    }),

  tsup: (entry, folder, name, format) =>
    tsup.build({
      config: false,
      entry: { [name.replace(/\.\w+$/, '')]: entry },
      outDir: folder,
      outExtension: () => ({ js: format === 'esm' ? '.mjs' : '.cjs' }),
      format,
      platform: 'node',
      noExternal: [/./],
      clean: false,
      silent: true,
      ...(format === 'esm' && { banner: { js: banner } }),
    }),
}
