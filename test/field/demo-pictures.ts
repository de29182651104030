// Takes the screenshots of docs/demo.md anew: `node --import tsx demo-pictures.ts` in this folder, with Node 24 or later.
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright-core'
import { startDemo } from '../support/demo.ts'
import { launch } from './support/chromium.ts'

/** Shows a clean end and a kill of the upstream in one picture. */
async function picture(browser: Browser, url: string, colorScheme: 'light' | 'dark'): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 1100, height: 790 }, colorScheme })
  await page.goto(url)
  await sleep(5000)
  await page.click('[data-fault="end"]')
  await sleep(3000)
  await page.click('[data-fault="kill"]')
  await sleep(9000)
  await page.mouse.move(0, 0)
  await page.screenshot({
    path: fileURLToPath(new URL(`../../docs/demo-${colorScheme}.png`, import.meta.url)),
  })
  await page.close()
}

await using demo = await startDemo()
const browser = await launch()
for (const colorScheme of ['light', 'dark'] as const) await picture(browser, demo.origin, colorScheme)
await browser.close()
