import { expect } from 'chai'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { type Demo, startDemo } from '../support/demo.ts'
import { launch } from './support/chromium.ts'

type LaneName = 'gateway' | 'pipe'

const figures = ['received', 'lost', 'twice', 'reconnects'] as const

type Figures = Readonly<Record<(typeof figures)[number], number>>

/** The colours of each text of the page, and of what is behind the text. Runs in the browser. */
function coloursOfTexts(): string[][] {
  return [...document.body.querySelectorAll('*')]
    .filter(({ childNodes }) =>
      [...childNodes].some((node) => node instanceof Text && node.data.trim() !== ''),
    )
    .map((text) => {
      let behind: Element | null = text
      while (behind && getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)')
        behind = behind.parentElement
      return [
        getComputedStyle(text).color,
        getComputedStyle(behind ?? document.documentElement).backgroundColor,
      ]
    })
}

function luminanceOf(colour: string): number {
  // A mixed colour is `color(srgb 0.9 0.9 1)`, and every other one `rgb(230, 230, 255)`.
  const most = colour.startsWith('color(') ? 1 : 255
  const channels = (colour.match(/[\d.]+/g) ?? []).map((value) => {
    const share = Number(value) / most
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  const [red = 0, green = 0, blue = 0] = channels
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/** The contrast of two colours (WCAG 2.2, 1.4.3). */
function contrastOf(colours: readonly string[]): number {
  const values = colours.map(luminanceOf)
  return (Math.max(...values) + 0.05) / (Math.min(...values) + 0.05)
}

describe('the page of the demonstration, in Chromium', function () {
  this.timeout(120_000)
  let browser: Browser
  let demo: Demo
  let context: BrowserContext
  let faults: string[]

  before(async () => {
    browser = await launch()
    demo = await startDemo()
  })

  beforeEach(async () => {
    context = await browser.newContext({ viewport: { width: 1180, height: 820 } })
    faults = []
  })

  afterEach(async () => {
    await context.close()
  })

  after(async () => {
    await browser.close()
    await demo[Symbol.asyncDispose]()
  })

  async function openTab(url = demo.origin): Promise<Page> {
    const tab = await context.newPage()
    watch(tab)
    await tab.goto(url)
    await receives(tab, 'gateway', 3)
    await receives(tab, 'pipe', 3)
    return tab
  }

  function watch(tab: Page): void {
    tab.on('pageerror', ({ message }) => faults.push(message))
    tab.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) faults.push(message.text())
    })
  }

  async function figuresOf(tab: Page, lane: LaneName): Promise<Figures> {
    const read = async (part: string) => Number(await tab.textContent(`#${lane} [data-part="${part}"]`))
    const [received = 0, lost = 0, twice = 0, reconnects = 0] = await Promise.all(figures.map(read))
    return { received, lost, twice, reconnects }
  }

  /** Waits until a lane has so many events more than when the wait began. */
  async function receives(tab: Page, lane: LaneName, more: number): Promise<void> {
    const { received } = await figuresOf(tab, lane)
    await tab.waitForFunction(
      ([selector, count]) => Number(document.querySelector(`${selector}`)?.textContent) >= Number(count),
      [`#${lane} [data-part="received"]`, received + more],
      { timeout: 30_000 },
    )
  }

  async function says(tab: Page, selector: string, text: RegExp): Promise<void> {
    await tab.waitForFunction(
      ([selector = '', source = '']) =>
        new RegExp(source).test(document.querySelector(selector)?.textContent ?? ''),
      [selector, text.source],
      { timeout: 30_000 },
    )
  }

  const laneSays = (tab: Page, lane: LaneName, text: RegExp) =>
    says(tab, `#${lane} [data-part="state"]`, text)

  const isUp = (tab: Page) => says(tab, '#upstream', /is up$/)

  const work = async (tab: Page) =>
    Number(/reconnected (\d+|once)/.exec((await tab.textContent('#work')) ?? '')?.[1]?.replace('once', '1'))

  /** Presses a button, and waits until the gateway's client has got events that were published after the upstream's return. */
  async function breaks(tab: Page, fault: string): Promise<void> {
    const before = await work(tab)
    await tab.click(`[data-fault="${fault}"]`)
    await tab.waitForFunction(
      (before) => !document.querySelector('#work')?.textContent?.includes(`reconnected ${before}`),
      before === 1 ? 'once' : `${before} times`,
      { timeout: 30_000 },
    )
    await isUp(tab)
    await receives(tab, 'gateway', 5)
  }

  const isWhole = async (tab: Page) => {
    expect(await figuresOf(tab, 'gateway')).to.include({ lost: 0, twice: 0, reconnects: 0 })
  }

  for (const [fault, state] of [
    ['kill', /^Silent for \d+ s on an open connection/],
    ['cut', /^Silent for \d+ s on an open connection/],
    ['silence', /^Silent for \d+ s on an open connection/],
    ['restart', /^Silent for \d+ s on an open connection/],
    ['unavailable', /^Given up/],
  ] as const) {
    it(`shows a gateway that loses nothing, and a pipe that loses events until it is reloaded: ${fault}`, async () => {
      const tab = await openTab()
      await isUp(tab)
      await breaks(tab, fault)
      await laneSays(tab, 'gateway', /^Receiving$/)
      await laneSays(tab, 'pipe', state)
      await says(tab, '#pipe [data-part="lost"]', /^[1-9]/)
      await tab.click('#reload')
      await receives(tab, 'pipe', 3)
      await laneSays(tab, 'pipe', /^Receiving$/)
      const { lost, reconnects } = await figuresOf(tab, 'pipe')
      expect(lost).to.be.at.least(1)
      expect(reconnects).to.equal(1)
      await isWhole(tab)
      // The browser itself reports the status that an EventSource gives up at.
      expect(faults.filter((text) => !(fault === 'unavailable' && text.includes('503')))).to.deep.equal([])
    })
  }

  it('shows that the browser brings a pipe back after a clean end, with three events twice', async () => {
    const tab = await openTab()
    await isUp(tab)
    await breaks(tab, 'end')
    await receives(tab, 'pipe', 3)
    expect(await figuresOf(tab, 'pipe')).to.include({ lost: 0, twice: 3, reconnects: 1 })
    await isWhole(tab)
    expect(await tab.textContent('#work')).to.match(/dropped \d+ repeats/)
    expect(await tab.locator('#pipe svg .twice').count()).to.equal(3)
    expect(faults).to.deep.equal([])
  })

  it('draws each event as it arrives, late ones higher, and those that are lost', async () => {
    const tab = await openTab()
    await isUp(tab)
    await breaks(tab, 'kill')
    await says(tab, '#pipe [data-part="lost"]', /^[1-9]/)
    const count = (lane: LaneName, kind: string) => tab.locator(`#${lane} svg .${kind}`).count()
    expect(await count('gateway', 'arrived')).to.be.at.least(5)
    expect(await count('gateway', 'late')).to.be.at.least(5)
    expect(await count('gateway', 'lost')).to.equal(0)
    expect(await count('pipe', 'lost')).to.be.at.least(1)
    for (const lane of ['gateway', 'pipe'] as const) expect(await count(lane, 'fault')).to.equal(1)
    // Of the events that waited together those that were published first have waited longest.
    const fault = Number(await tab.getAttribute('#gateway svg .fault', 'x1'))
    const bars = await tab
      .locator('#gateway svg .late')
      .evaluateAll((bars) => bars.map((bar) => ['x', 'height'].map((name) => Number(bar.getAttribute(name)))))
    const heights = bars.filter(([x = 0]) => x > fault).map(([, height = 0]) => height)
    const first = heights.slice(0, 5)
    expect(first).to.have.length(5)
    expect(first).to.deep.equal(first.toSorted((a, b) => b - a))
    expect(faults).to.deep.equal([])
  })

  it('shares the stream with a second tab', async () => {
    const first = await openTab()
    const opened = context.waitForEvent('page')
    await first.click('text=Open this page in a second tab')
    const second = await opened
    watch(second)
    await receives(second, 'gateway', 3)
    for (const tab of [first, second]) {
      for (const [id, count] of [
        ['clients', 2],
        ['gateway-connections', 1],
        ['pipe-clients', 2],
        ['pipe-connections', 2],
      ]) {
        await says(tab, `#${id}`, new RegExp(`^${count}$`))
      }
    }
    await breaks(first, 'end')
    await isWhole(first)
    await isWhole(second)
    expect(faults).to.deep.equal([])
  })

  const wordsOf = async (tab: Page) => ((await tab.textContent('#answer')) ?? '').trim().split(/\s+/)

  const hasWords = (tab: Page, count: number) =>
    tab.waitForFunction(
      (count) => (document.querySelector('#answer')?.textContent ?? '').split(' ').length > count,
      count,
      { timeout: 30_000 },
    )

  it('goes on with an answer while its tab is closed, and has each word once in another tab', async () => {
    const tab = await openTab()
    await tab.click('#ask')
    await hasWords(tab, 3)
    await tab.click('#toggle')
    await says(tab, '#session-state', /^The reader is closed/)
    const seen = (await wordsOf(tab)).length
    await says(
      tab,
      '#session-figures',
      new RegExp(`sent (${seen + 5}|${seen + 6}|${seen + 7}|${seen + 8}) words`),
    )
    expect(await wordsOf(tab)).to.have.length(seen)
    const url = `${demo.origin}${await tab.getAttribute('#tab', 'href')}`
    await tab.click('#toggle')
    await hasWords(tab, seen + 5)
    await tab.close()
    const other = await openTab(url)
    await says(other, '#session-state', /^Complete: \d+ words$/)
    const words = await wordsOf(other)
    expect(await other.textContent('#session-state')).to.equal(`Complete: ${words.length} words`)
    await says(
      other,
      '#session-figures',
      new RegExp(`asked once and has sent ${words.length} words. No process`),
    )
    await other.click('#stored')
    await says(other, '#session-state', /^Complete: \d+ words$/)
    expect(await wordsOf(other)).to.deep.equal(words)
    expect(faults).to.deep.equal([])
  })

  it('shows that an answer has failed when its owner is killed, and what is stored of it', async () => {
    const tab = await openTab()
    await tab.click('#ask')
    await hasWords(tab, 3)
    await tab.click('#kill-owner')
    await says(tab, '#session-state', /^Failed after \d+ words, which are kept/)
    const words = await wordsOf(tab)
    await tab.click('#stored')
    await says(tab, '#session-state', /^Failed after \d+ words, which are kept/)
    expect(await wordsOf(tab)).to.deep.equal(words)
    await says(tab, '#session-figures', /^The model was asked once/)
    await says(tab, '#log', /was killed \(SIGKILL\)/)
    await says(tab, '#processes', /Gateway 1: process \d+.*Gateway 2: process \d+/s)
    await receives(tab, 'gateway', 5)
    await isWhole(tab)
    expect(faults).to.deep.equal([])
  })

  it('is used with the keyboard, and keeps the focus', async () => {
    const tab = await openTab()
    await isUp(tab)
    const focused = () => tab.evaluate(() => document.activeElement?.textContent)
    await tab.keyboard.press('Tab')
    expect(await focused()).to.equal('Kill it for 2 s')
    expect(
      await tab.evaluate(() => getComputedStyle(document.activeElement ?? document.body).outlineStyle),
    ).to.equal('solid')
    await tab.keyboard.press('Enter')
    await says(tab, '#upstream', /is killed/)
    // The button does nothing until the upstream is back, and is not left.
    await tab.keyboard.press('Enter')
    expect(await focused()).to.equal('Kill it for 2 s')
    await isUp(tab)
    for (let presses = 0; (await focused()) !== 'Ask the model'; presses++) {
      expect(presses).to.be.below(12)
      await tab.keyboard.press('Tab')
    }
    await tab.keyboard.press('Space')
    await hasWords(tab, 3)
    expect(await focused()).to.equal('Ask the model')
    expect(faults).to.deep.equal([])
  })

  it('moves once a second at most for those who want no motion', async () => {
    const tab = await openTab()
    await tab.emulateMedia({ reducedMotion: 'reduce' })
    const steps = (frames: number) =>
      tab.evaluate(async (frames) => {
        const moving = document.querySelector('#gateway svg g')
        const places = new Set<string | null | undefined>()
        const start = performance.now()
        for (let n = 0; n < frames; n++) {
          await new Promise(requestAnimationFrame)
          places.add(moving?.getAttribute('transform'))
        }
        return { places: places.size, seconds: (performance.now() - start) / 1000 }
      }, frames)
    const { places, seconds } = await steps(30)
    expect(places).to.be.at.most(Math.ceil(seconds) + 1)
    await tab.emulateMedia({ reducedMotion: 'no-preference' })
    expect((await steps(30)).places).to.be.above(20)
    expect(faults).to.deep.equal([])
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`fits into 360 pixels, and can be read, in ${colorScheme} colours`, async () => {
      const tab = await openTab()
      await tab.emulateMedia({ colorScheme })
      await tab.click('#ask')
      await hasWords(tab, 3)
      await tab.setViewportSize({ width: 360, height: 740 })
      expect(await tab.evaluate(() => document.documentElement.scrollWidth)).to.equal(360)
      await tab.hover('button:not(:disabled, [aria-disabled="true"])')
      const texts = await tab.evaluate(coloursOfTexts)
      expect(texts.filter((colours) => `${colours}`.includes('color(srgb'))).to.have.length(1)
      expect(texts).to.have.length.above(30)
      for (const colours of texts) expect(contrastOf(colours), `${colours}`).to.be.at.least(4.5)
      const paper = await tab.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)
      expect(paper).to.match(colorScheme === 'light' ? /^rgb\(2\d\d, / : /^rgb\(\d\d, /)
      expect(faults).to.deep.equal([])
    })
  }
})
