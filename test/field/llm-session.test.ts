import { once } from 'node:events'
import { expect } from 'chai'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { type Completion, serveCompletion, words } from '../support/completion.ts'
import { type Example, startExample } from '../support/example.ts'
import { type Forwarder, forwardTo } from '../support/forwarder.ts'
import { until } from '../support/until.ts'
import { launch } from './support/chromium.ts'

const all = (count: number) => words(1, count).join('')

/** Waits until an element of the page has a text. */
async function shows(page: Page, id: string, text: string): Promise<void> {
  const has = ([id = '', text]: string[]) => document.getElementById(id)?.textContent === text
  try {
    await page.waitForFunction(has, [id, text], { timeout: 20_000 })
  } catch (cause) {
    const found = await page.locator(`#${id}`).textContent()
    throw new Error(`#${id} has ${JSON.stringify(found)} instead of ${JSON.stringify(text)}`, { cause })
  }
}

describe('the page of examples/llm-session.ts, in Chromium', function () {
  this.timeout(60_000)
  let browser: Browser
  let completion: Completion
  let example: Example
  let forwarder: Forwarder
  let context: BrowserContext
  let faults: string[]

  before(async () => {
    browser = await launch()
    completion = await serveCompletion()
    example = await startExample('llm-session.ts', completion.url)
    forwarder = await forwardTo(example.port)
  })

  beforeEach(async () => {
    context = await browser.newContext()
    faults = []
  })

  afterEach(async () => {
    await context.close()
    completion.reset()
  })

  after(async () => {
    await browser.close()
    await forwarder[Symbol.asyncDispose]()
    await example[Symbol.asyncDispose]()
    await completion[Symbol.asyncDispose]()
  })

  /** @param url - Default: the page without an answer. */
  async function openTab(url = forwarder.url): Promise<Page> {
    const tab = await context.newPage()
    tab.on('pageerror', ({ message }) => faults.push(message))
    tab.on('console', (message) => {
      if (message.type() === 'error') faults.push(message.text())
    })
    await tab.goto(url)
    return tab
  }

  /** Opens the page, sends the prompt, and waits for five words. */
  async function openAnswer(): Promise<Page> {
    const tab = await openTab()
    await tab.click('text=Send')
    completion.say(...words(1, 5))
    await shows(tab, 'text', all(5))
    await shows(tab, 'status', 'Answering')
    return tab
  }

  function finish(): void {
    completion.say(...words(6, 10))
    completion.finish()
  }

  /** Waits until tabs show the whole answer. */
  async function completes(...tabs: readonly Page[]): Promise<void> {
    for (const tab of tabs) {
      await shows(tab, 'status', 'Complete')
      await shows(tab, 'text', all(10))
      expect(await tab.isDisabled('#stop')).to.equal(true)
    }
    expect(completion.requests).to.equal(1)
  }

  it('has the whole text once after a reload in the middle, and after one behind the end', async () => {
    const tab = await openAnswer()
    await tab.reload()
    await shows(tab, 'text', all(5))
    finish()
    await completes(tab)
    await tab.reload()
    await completes(tab)
    expect(faults).to.deep.equal([])
  })

  it('has the whole text once in a tab that is opened again', async () => {
    const closed = await openAnswer()
    const url = closed.url()
    await closed.close()
    finish()
    await completes(await openTab(url))
    expect(faults).to.deep.equal([])
  })

  it('shows the same in a second tab, until one of them stops the answer', async () => {
    const first = await openAnswer()
    const second = await openTab(first.url())
    await shows(second, 'text', all(5))
    const closed = once(completion.server.requests.at(-1)?.socket ?? completion.server.server, 'close')
    await second.click('#stop')
    await closed
    for (const tab of [first, second]) {
      await shows(tab, 'status', 'Stopped')
      await shows(tab, 'text', all(5))
      expect(await tab.isDisabled('#stop')).to.equal(true)
    }
    await first.reload()
    await shows(first, 'text', all(5))
    await shows(first, 'status', 'Stopped')
    expect(completion.requests).to.equal(1)
    expect(faults).to.deep.equal([])
  })

  it('has the whole text once when its connection breaks: the EventSource returns with its id', async () => {
    const tab = await openAnswer()
    forwarder.cut()
    await shows(tab, 'status', 'Connection lost, connecting again')
    finish()
    await completes(tab)
    expect(forwarder.sent).to.match(/^last-event-id: \d+-5\r$/im)
    // The browser itself reports a connection that breaks.
    expect(faults.filter((fault) => !fault.includes('net::ERR_'))).to.deep.equal([])
  })

  it('shows the same read with fetch, which goes on from its id when it is opened again, and after a break', async () => {
    const tab = await openAnswer()
    await tab.click('summary')
    await shows(tab, 'fetch-text', all(5))
    await tab.click('summary')
    completion.say('word6 ')
    await shows(tab, 'text', all(6))
    await shows(tab, 'fetch-text', all(5))
    await tab.click('summary')
    await shows(tab, 'fetch-text', all(6))
    forwarder.cut()
    completion.say(...words(7, 10))
    completion.finish()
    await completes(tab)
    await shows(tab, 'fetch-status', 'Complete')
    await shows(tab, 'fetch-text', all(10))
    await tab.click('summary')
    await tab.click('summary')
    await shows(tab, 'fetch-status', 'Complete')
    await shows(tab, 'fetch-text', all(10))
    expect(faults.filter((fault) => !fault.includes('net::ERR_'))).to.deep.equal([])
  })

  it('is used with the keyboard, and asks once for a prompt that is sent again before its answer is over', async () => {
    const tab = await openTab()
    let answers = 0
    tab.on('response', (response) => {
      if (response.request().method() === 'POST') answers++
    })
    await tab.keyboard.press('Tab')
    await tab.keyboard.type('Hello')
    await tab.keyboard.press('Enter')
    await tab.keyboard.press('Enter')
    completion.say(...words(1, 5))
    await shows(tab, 'text', all(5))
    await tab.keyboard.press('Enter')
    await until(
      () => answers === 3,
      () => `3 answers to 3 submits, got ${answers}`,
    )
    for (const _ of ['Send', 'Stop']) await tab.keyboard.press('Tab')
    await tab.keyboard.press('Space')
    await shows(tab, 'status', 'Stopped')
    expect(await tab.evaluate(() => document.activeElement?.id)).to.equal('prompt')
    expect(completion.requests).to.equal(1)
    await tab.keyboard.press('Enter')
    await shows(tab, 'status', 'Answering')
    expect(completion.requests).to.equal(2)
    expect(faults).to.deep.equal([])
  })

  it('goes back to an earlier answer, which has gone on', async () => {
    const tab = await openAnswer()
    const url = tab.url()
    await tab.fill('#prompt', 'Another prompt')
    await tab.click('text=Send')
    await tab.waitForURL((now) => now.href !== url)
    await shows(tab, 'text', all(5))
    expect(completion.requests).to.equal(2)
    finish()
    await shows(tab, 'text', all(10))
    await tab.goBack()
    expect(tab.url()).to.equal(url)
    await shows(tab, 'status', 'Complete')
    await shows(tab, 'text', all(10))
    expect(faults).to.deep.equal([])
  })

  it('says that an answer is not kept (404, 410), and that the upstream has failed', async () => {
    const unknown = await openTab(`${forwarder.url}/#unknown`)
    await shows(unknown, 'status', 'This answer does not exist, or is no longer kept')
    const tab = await openAnswer()
    await tab.route('**/answers/*', (route) => route.fulfill({ status: 410 }))
    forwarder.cut()
    await shows(tab, 'status', 'The rest of this answer is no longer kept')
    await shows(tab, 'text', all(5))
    await tab.unroute('**/answers/*')
    await tab.reload()
    await shows(tab, 'text', all(5))
    completion.cut()
    await tab.waitForFunction(() => document.getElementById('status')?.textContent?.startsWith('Failed: '))
    await shows(tab, 'text', all(5))
    expect(completion.requests).to.equal(1)
    // The browser itself reports these statuses, and a connection that breaks.
    expect(faults.filter((fault) => !/net::ERR_|404|410/.test(fault))).to.deep.equal([])
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`fits into 360 pixels, in ${colorScheme} colours`, async () => {
      const tab = await openAnswer()
      await tab.emulateMedia({ colorScheme })
      await tab.setViewportSize({ width: 360, height: 640 })
      await tab.click('summary')
      completion.say('x'.repeat(200))
      await shows(tab, 'fetch-text', all(5) + 'x'.repeat(200))
      expect(await tab.evaluate(() => document.documentElement.scrollWidth)).to.equal(360)
      const colour = await tab.evaluate(() => {
        const canvas = Object.assign(document.createElement('p'), { style: 'background: Canvas' })
        document.body.append(canvas)
        return getComputedStyle(canvas).backgroundColor
      })
      expect(colour).to.match(colorScheme === 'light' ? /^rgb\(2\d\d, / : /^rgb\(\d\d, /)
      expect(faults).to.deep.equal([])
    })
  }
})
