import { join } from 'node:path'
import { expect } from 'chai'
import { runNode } from '../support/child.ts'
import { complaintsAbout } from '../support/compiler.ts'
import { type Block, blocksOf, pages, root } from '../support/pages.ts'

const blocks = pages.flatMap(blocksOf)

/** The file that a block would be, in the project's folder, where `resilient-sse` is this package. */
function fileOf({ page, line, language }: Block): string {
  return join(root, `${page}.${line}.${language === 'ts' ? 'mts' : 'mjs'}`)
}

describe('the code blocks of the pages', () => {
  it('compile, those in TypeScript and those in JavaScript', () => {
    const scripts = blocks.filter(({ language }) => language === 'ts' || language === 'js')
    expect(scripts.length).to.be.greaterThan(10)
    expect(complaintsAbout(new Map(scripts.map((block) => [fileOf(block), block.code])))).to.deep.equal([])
  })

  it('are distinguished from code that does not compile', () => {
    const wrong = "import { relaySse } from 'resilient-sse'\nexport const size: string = relaySse.length\n"
    const [complaint, ...others] = complaintsAbout(new Map([[join(root, 'docs/wrong.mts'), wrong]]))
    expect(complaint).to.match(/^docs\/wrong\.mts, line 2: Type 'number' is not assignable/)
    expect(others).to.deep.equal([])
  })

  it('have JSON that can be parsed', () => {
    for (const { page, line, language, code } of blocks) {
      if (language === 'json') expect(() => JSON.parse(code), `${page}, line ${line}`).to.not.throw()
    }
  })

  it('have no option of the command that it does not know', async () => {
    const { out } = await runNode('src/cli.ts', ['--help'])
    const known = new Set(out.match(/--[a-z-]+/g))
    const lines = blocks.filter(({ language }) => language === 'sh').flatMap(({ code }) => code.split('\n'))
    const used = lines.flatMap((line) => {
      const [, options = ''] = /^(?:.*\s)?resilient-sse (--.*)$/.exec(line) ?? []
      return options.match(/--[a-z-]+/g) ?? []
    })
    expect(used).to.include('--upstream')
    expect(used.filter((option) => !known.has(option))).to.deep.equal([])
  })
})
