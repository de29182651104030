import { help, readArguments, UsageError } from './arguments.ts'
import { check } from './check.ts'
import { gatewayArgument } from './live/gateway-child.ts'
import { type ChildTerminal, runGateway } from './live/gateway-process.ts'
import { type PageTerminal, showPage } from './live/live.ts'

/** The members of the process that the demonstration uses. */
export type Terminal = PageTerminal & ChildTerminal & Pick<NodeJS.Process, 'stderr'>

/**
 * Shows that a client's stream survives the drops of its upstream: in a page, or with `--check` in a table.
 *
 * @returns The exit code.
 */
export async function demo(args: readonly string[], terminal: Terminal): Promise<number> {
  if (args[0] === gatewayArgument) return runGateway(terminal)
  try {
    const options = readArguments(args)
    if (options.mode === 'check') return await check(options, terminal)
    if (options.mode === 'page') return await showPage(options.port, terminal)
    terminal.stdout.write(help)
    return 0
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    terminal.stderr.write(`${error.message}\nSee --help.\n`)
    return 2
  }
}
