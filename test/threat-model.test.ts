import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect } from 'chai'

const here = new URL('.', import.meta.url)
const document = readFileSync(new URL('../docs/threat-model.md', here), 'utf8')

/** The titles of a file's tests, with … for what a template puts in. */
function titlesIn(file: string): string[] {
  const source = readFileSync(new URL(file, here), 'utf8')
  const titles = source.matchAll(/\bit\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1,/g)
  return [...titles].map(([, , title = '']) => title.replace(/\$\{[^}]*\}/g, '…').replace(/\\(.)/g, '$1'))
}

const named = [...document.matchAll(/`([\w/-]+)` “([^”]+)”/g)].map(([, file = '', title = '']) => ({
  file: `${file}.test.ts`,
  title,
}))

describe('docs/threat-model.md', () => {
  it('names tests that exist', () => {
    expect(named).to.have.length.above(50)
    for (const file of new Set(named.map(({ file }) => file))) {
      expect(existsSync(new URL(file, here)), file).to.equal(true)
      const titles = named.filter((each) => each.file === file).map(({ title }) => title)
      expect(titlesIn(file), file).to.include.members(titles)
    }
  })

  it('names a test for each threat', () => {
    const rows = document.split('\n').filter((line) => /^\| (?!threat |---)/.test(line))
    expect(rows).to.have.length.above(30)
    for (const row of rows) {
      const cells = row.slice(1, -1).split('|')
      expect(cells, row).to.have.length(4)
      expect(cells[3], row).to.match(/`[\w/-]+` “[^”]+”/)
    }
  })

  it('names each file of test/security', () => {
    const files = readdirSync(new URL('security/', here)).filter((name) => name.endsWith('.test.ts'))
    for (const name of files) expect(named.map(({ file }) => file)).to.include(`security/${name}`)
  })
})
