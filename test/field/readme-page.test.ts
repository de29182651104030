import { expect } from 'chai'
import { serveCompletion, words } from '../support/completion.ts'
import { blockWith, servePage } from '../support/pages.ts'
import { launch } from './support/chromium.ts'

const all = (count: number) => words(1, count).join('')

describe('the page of the README, in Chromium', function () {
  this.timeout(60_000)

  /** Opens the page of a server whose answers come from `model`, with a function that reads the answer. */
  async function open() {
    await using stack = new AsyncDisposableStack()
    const model = stack.use(await serveCompletion())
    const files = { 'llm.html': blockWith('README.md', 'new EventSource(') }
    const api = { 'http://localhost:11434/v1/chat/completions': model.url }
    const server = stack.use(await servePage(blockWith('README.md', '`answer:'), api, files))
    const browser = stack.adopt(await launch(), (browser) => browser.close())
    const tab = await browser.newPage()
    const faults: string[] = []
    tab.on('pageerror', ({ message }) => faults.push(message))
    // Chromium takes only localhost, by its name or its address, for a secure context, which randomUUID needs.
    await tab.goto(server.url)
    /** Waits until the answer is a text, or one that a pattern describes. */
    const shows = async (pattern: string) => {
      const matches = (source: string) =>
        new RegExp(`^${source}$`).test(document.getElementById('answer')?.textContent ?? '')
      await tab.waitForFunction(matches, pattern, { timeout: 20_000 })
    }
    const ask = async () => {
      await tab.fill('#question', 'Why?')
      await tab.click('text=Ask')
    }
    const owned = stack.move()
    return { model, tab, faults, shows, ask, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }

  it('shows an answer to its end, and after a reload the whole answer; the model is asked once', async () => {
    await using page = await open()
    await page.ask()
    page.model.say(...words(1, 3))
    await page.shows(all(3))
    await page.tab.reload()
    await page.shows(all(3))
    page.model.say(...words(4, 5))
    page.model.finish()
    await page.shows(all(5))
    await page.tab.reload()
    await page.shows(all(5))
    expect(page.model.requests).to.equal(1)
    expect(page.faults).to.deep.equal([])
  })

  it('shows that an answer has failed, and that another does not exist', async () => {
    await using page = await open()
    await page.ask()
    page.model.say('half ')
    await page.shows('half ')
    page.model.cut()
    await page.shows('half {2}\\[.+\\]')
    await page.tab.evaluate("location.hash = 'unknown'")
    await page.shows(' \\[204 or refused\\]')
    expect(page.faults).to.deep.equal([])
  })
})
