import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { pages, pageText, root } from '../support/pages.ts'

const others = [
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'benchmarks/README.md',
  'benchmarks/RESULTS.md',
]

/** Without blocks of code, in which brackets are no links. */
const proseOf = (page: string) => pageText(page).replace(/^```.*?^```$/gms, '')

/** The anchors of a page's headings, as GitHub and typedoc make them. */
function anchorsOf(page: string): string[] {
  return Array.from(proseOf(page).matchAll(/^#+ (.*)$/gm), ([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

/** The links of a page to files of the project: each as it is written, with its file and its anchor. */
function linksOf(page: string) {
  return Array.from(proseOf(page).matchAll(/\]\(([^)\s]+)\)/g), ([, link = '']) => link)
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [path = '', anchor] = link.split('#')
      const file = path === '' ? page : relative(root, join(root, dirname(page), path))
      return { link, file, anchor }
    })
}

describe('the links of the pages', () => {
  for (const page of [...pages, ...others]) {
    it(`lead somewhere, in ${page}`, () => {
      for (const { link, file, anchor } of linksOf(page)) {
        expect(existsSync(join(root, file)), link).to.equal(true)
        if (anchor !== undefined) expect(anchorsOf(file), link).to.include(anchor)
      }
    })
  }

  it('lead from each page in the package to files in the package', async () => {
    const args = ['pack', '--dry-run', '--json', '--ignore-scripts']
    const { stdout } = await promisify(execFile)('npm', args, { cwd: root })
    const packed = new Set(Array.from(stdout.matchAll(/"path": "(.*)"/g), ([, path = '']) => path))
    expect([...packed]).to.include('README.md')
    for (const page of [...pages, ...others].filter((each) => packed.has(each))) {
      for (const { link, file } of linksOf(page))
        expect(packed.has(file), `${link} in ${page}`).to.equal(true)
    }
  })

  it('from the README or its pages lead to every page', () => {
    const found = new Set(['README.md'])
    for (const page of found) {
      for (const { file } of linksOf(page)) if (file.endsWith('.md')) found.add(file)
    }
    expect([...found]).to.include.members([...pages])
  })
})
