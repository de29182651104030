import http from 'node:http'
import { usualPort } from '../arguments.ts'
import { close, listen } from '../listen.ts'
import { Guard, originsOf } from './guard.ts'
import { pageListener } from './page-server.ts'
import { Show } from './show.ts'

/** The members of the process that the page needs. */
export type PageTerminal = Pick<NodeJS.Process, 'argv' | 'stdout' | 'once' | 'off'>

/**
 * Serves the page until the process gets SIGINT or SIGTERM.
 *
 * @param port - Default: {@link usualPort}, or a free port when that one is in use.
 * @returns The exit code.
 * @throws When the given port is in use.
 */
export async function showPage(port: number | undefined, terminal: PageTerminal): Promise<number> {
  const stopped = stopSignal(terminal)
  const server = http.createServer()
  // The first server to listen, because the other servers must know the origin of the page.
  const guard = new Guard(await listenAt(server, port))
  const show = new Show(guard, terminal.argv[1] ?? '')
  try {
    const started = show.start()
    // The page of an earlier run may ask before everything runs.
    const answer = pageListener(guard, show)
    server.on('request', (request, response) => {
      started.then(
        () => answer(request, response),
        () => response.destroy(),
      )
    })
    await started
    terminal.stdout.write(`The demonstration is at ${originsOf(guard.pagePort)[0]}/ (Ctrl-C stops it)\n`)
    await stopped
    return 0
  } finally {
    await close(server)
    await show.close()
  }
}

async function listenAt(server: http.Server, port: number | undefined): Promise<number> {
  if (port !== undefined) return listen(server, port)
  try {
    return await listen(server, usualPort)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error
    return listen(server)
  }
}

/** Resolves at the first SIGINT or SIGTERM. The second one ends the process at once. */
async function stopSignal(terminal: PageTerminal): Promise<void> {
  await new Promise<void>((resolve) => {
    const onSignal = () => {
      terminal.off('SIGINT', onSignal)
      terminal.off('SIGTERM', onSignal)
      resolve()
    }
    terminal.once('SIGINT', onSignal)
    terminal.once('SIGTERM', onSignal)
  })
}
