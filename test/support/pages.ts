import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Program, startInFolder } from './child.ts'
import { portOf } from './example.ts'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** The text of a page, by its path from the project's folder. */
export const pageText = (page: string) => readFileSync(join(root, page), 'utf8')

/** The pages for users: the README and those of `docs/`. */
export const pages: readonly string[] = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

/** A block of code on a page. */
export interface Block {
  readonly page: string
  /** The line of the page that opens the block, from 1. */
  readonly line: number
  readonly language: string
  readonly code: string
}

export function blocksOf(page: string): readonly Block[] {
  const text = pageText(page)
  return Array.from(
    text.matchAll(/^```(\w*)\n(.*?)^```$/gms),
    ({ index, 1: language = '', 2: code = '' }) => {
      return { page, line: text.slice(0, index).split('\n').length, language, code }
    },
  )
}

/** The one block of a page that contains a text. */
export function blockWith(page: string, part: string): string {
  const found = blocksOf(page).filter(({ code }) => code.includes(part))
  if (found.length !== 1 || !found[0]) throw new Error(`${found.length} blocks of ${page} contain ${part}`)
  return found[0].code
}

/** A program of a page. */
export interface RunningPage extends AsyncDisposable {
  readonly program: Program
}

/** A program of a page that listens. */
export interface PageServer extends RunningPage {
  /** Without a path. */
  readonly url: string
}

/**
 * Runs programs of a page as a reader does: in a folder of their own, in which the package is installed. Disposing kills
 * the program, and removes the folder.
 *
 * @param files - The folder's files by name.
 * @param main - The file that is run, with its arguments.
 */
export async function runInFolder(
  files: Readonly<Record<string, string>>,
  ...main: readonly [file: string, args?: readonly string[]]
) {
  const folder = await mkdtemp(join(tmpdir(), 'resilient-sse-page-'))
  await mkdir(join(folder, 'node_modules'))
  await symlink(root, join(folder, 'node_modules/resilient-sse'))
  for (const name of ['eventsource-parser', 'pino', 'prom-client', 'redis']) {
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  }
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const program = await startInFolder(folder, ...main)
  const dispose = async () => {
    await program[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  }
  return { program, [Symbol.asyncDispose]: dispose }
}

/**
 * Runs a program of a page, whose upstream has another address.
 *
 * @param upstreams - What stands in the page's code in place of the addresses, by these addresses.
 */
export async function runPage(
  code: string,
  upstreams: Readonly<Record<string, string>>,
  files: Readonly<Record<string, string>> = {},
): Promise<RunningPage> {
  const main = Object.entries(upstreams).reduce(
    (text, [address, other]) => replaced(text, address, other),
    code,
  )
  return await runInFolder({ ...files, 'main.mts': main }, 'main.mts')
}

/** Runs a server of a page on a free port. */
export async function servePage(
  code: string,
  upstreams: Readonly<Record<string, string>>,
  files: Readonly<Record<string, string>> = {},
): Promise<PageServer> {
  const listens = /\.listen\(\d+\)/
  if (!listens.test(code)) throw new Error('the code does not listen')
  const onFreePort = ".listen(0, '127.0.0.1', function () { console.log('port:', this.address().port) })"
  const running = await runPage(code.replace(listens, onFreePort), upstreams, files)
  const dispose = () => running[Symbol.asyncDispose]()
  try {
    const port = await portOf(running.program)
    return { program: running.program, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw new Error(`the program of the page does not listen: ${running.program.err}`, { cause: error })
  }
}

function replaced(text: string, part: string, by: string): string {
  if (!text.includes(part)) throw new Error(`the code has no ${part}`)
  return text.replaceAll(part, () => by)
}
