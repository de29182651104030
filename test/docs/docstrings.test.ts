import { join } from 'node:path'
import { expect } from 'chai'
import manifest from '../../package.json' with { type: 'json' }
import { complaintsAbout, namesExportedBy } from '../support/compiler.ts'
import { root } from '../support/pages.ts'

/** The sources of the entries of package.json. */
const entries = Object.values(manifest.exports).flatMap((entry) =>
  typeof entry === 'string' ? [] : [entry.types.replace('./dist/', 'src/').replace('.d.ts', '.ts')],
)

/** The code of an example; undefined without a block of TypeScript. */
const codeOf = (example: string) => /^```ts\n(.*)\n```$/s.exec(example)?.[1]

describe('the docstrings of the public names', () => {
  const names = namesExportedBy(entries)

  it('have an example that uses the name', () => {
    expect(entries).to.include.members(['src/index.ts', 'src/metrics.ts'])
    const without = names.filter(({ name, examples }) => {
      const uses = new RegExp(`\\b${name}\\b.*\\b${name}\\b`, 's')
      return !examples.some((example) => uses.test(codeOf(example) ?? ''))
    })
    expect(without.map(({ name }) => name)).to.deep.equal([])
  })

  it('have examples that compile', () => {
    const files = names.flatMap(({ name, examples }) =>
      examples.map((example, n): [string, string] => [
        join(root, `src/${name}.${n + 1}.mts`),
        codeOf(example) ?? 'an example is a block of TypeScript',
      ]),
    )
    expect(complaintsAbout(new Map(files))).to.deep.equal([])
  })
})
