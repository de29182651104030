import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import { type Browser, chromium } from 'playwright-core'
import { type Client, ClientRecord } from './client.ts'
import { pathOf } from './programs.ts'

const bundle = buildSync({
  entryPoints: [fileURLToPath(new URL('page.ts', import.meta.url))],
  bundle: true,
  write: false,
  format: 'iife',
})

/** Starts a browser whose data are fresh, and which asks for nothing by itself. */
export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: pathOf('chromium'),
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

/** A page of a gateway, with the clients that run in browsers. */
export interface Page extends AsyncDisposable {
  open(): Promise<readonly Client[]>
}

export async function pageAt(browser: Browser, url: string): Promise<Page> {
  const page = await browser.newPage()
  const records = new Map<string, ClientRecord>()
  const recordOf = (kind: string) => {
    const record = records.get(kind) ?? new ClientRecord(kind)
    records.set(kind, record)
    return record
  }
  await page.exposeFunction('note', (kind: string, id: string, data: string) => {
    recordOf(kind).note({ id, data })
  })
  await page.exposeFunction('sign', (kind: string, isOver: boolean) => recordOf(kind).sign(isOver))
  await page.goto(url)
  await page.addScriptTag({ content: bundle.outputFiles[0]?.text ?? '' })
  return {
    async open() {
      const clients = [recordOf("Chromium's EventSource"), recordOf('fetch-event-source')]
      await page.evaluate('openClients()')
      return clients
    },
    [Symbol.asyncDispose]: () => page.close(),
  }
}
