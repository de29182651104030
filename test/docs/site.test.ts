import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, normalize } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { pages, pageText, root } from '../support/pages.ts'

/** The links of a page in HTML to other pages and files of the site. */
const linksIn = (html: string) =>
  Array.from(html.matchAll(/(?:href|src)="([^"]*)"/g), ([, link = '']) =>
    link.replaceAll('&amp;', '&'),
  ).filter((link) => !/^[a-z]+:/.test(link))

describe('the site', () => {
  it('has every page of the documentation', () => {
    const { projectDocuments } = JSON.parse(pageText('typedoc.json'))
    expect(projectDocuments).to.include.members(pages.filter((page) => page !== 'README.md'))
  })

  it('is built, and each of its links leads to a page and a heading that exist', async () => {
    const site = await mkdtemp(join(tmpdir(), 'resilient-sse-site-'))
    try {
      const typedoc = join(root, 'node_modules/typedoc/bin/typedoc')
      // `npm run lint` has checked the types.
      await promisify(execFile)(process.execPath, [typedoc, '--skipErrorChecking', '--out', site], {
        cwd: root,
      })
      const files = new Map<string, string>()
      for (const name of await readdir(site, { recursive: true })) {
        files.set(name, /\.(html|svg)$/.test(name) ? await readFile(join(site, name), 'utf8') : '')
      }
      expect(files.has('documents/LLM_gateways.html')).to.equal(true)
      for (const [name, html] of files) {
        for (const link of linksIn(html)) {
          const [path = '', anchor] = link.split('#')
          // The link to a folder leads to its index.
          const target = path.endsWith('/') ? `${path}index.html` : path
          const file = target === '' ? name : normalize(join(dirname(name), target))
          expect(files.has(file), `${link} in ${name}`).to.equal(true)
          if (anchor) expect(files.get(file), `${link} in ${name}`).to.include(`id="${anchor}"`)
        }
      }
    } finally {
      await rm(site, { recursive: true })
    }
  }).timeout(300_000)
})
