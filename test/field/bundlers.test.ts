import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { startProcess } from '../support/child.ts'
import { pageText } from '../support/pages.ts'
import { resets, serveInTurn, stays } from '../support/server.ts'
import { banner, bundlers, type Format } from './support/bundlers.ts'

const entry = fileURLToPath(new URL('support/bundled-program.mjs', import.meta.url))
const formats: readonly Format[] = ['esm', 'cjs']

/** A folder outside the project, where a program finds no package. */
async function emptyFolder() {
  const path = await mkdtemp(join(tmpdir(), 'resilient-sse-bundle-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

describe('a bundle of a program with all its packages', () => {
  for (const [bundler, make] of Object.entries(bundlers)) {
    for (const format of formats) {
      it(`runs without node_modules: ${bundler}, ${format === 'esm' ? 'an ES module' : 'CommonJS'}`, async () => {
        await using folder = await emptyFolder()
        const name = `program.${format === 'esm' ? 'mjs' : 'cjs'}`
        await make(entry, folder.path, name, format)
        await using upstream = await serveInTurn(
          resets('id: 1\ndata: first\n\n'),
          stays('id: 2\ndata: last\n\n'),
        )
        const env = { DEBUG: 'resilient-sse:*' }
        await using program = startProcess([join(folder.path, name), upstream.url], env, folder.path)
        const { code, out, err } = await program.ended
        expect(code, err).to.equal(0)
        expect(out)
          .to.match(/^first\nlast\n/)
          .and.match(/^sse_reconnects_total\{.*reason="reset".*\} 1$/m)
        expect(err).to.include('resilient-sse:drop')
        expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([
          undefined,
          '1',
        ])
      }).timeout(120_000)
    }
  }

  it('needs the banner that docs/troubleshooting.md names for esbuild and tsup', () => {
    expect(pageText('docs/troubleshooting.md')).to.include(banner)
  })
})
