import { shown } from '../errors.ts'
import { choice, number, type Option, optional, type TextForm, withDefault, written } from '../options.ts'
import { proxyOptions, proxyRelayOptions } from '../proxy/options.ts'
import { reconnectOptions } from '../reconnect/options.ts'
import { logFormats, logLevels } from './log.ts'
import { terminalOptions } from './terminal.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

const address = written<Address, string>('HOST:PORT', (value, name) => {
  const [, v6, host = '127.0.0.1', port] =
    (typeof value === 'string' && /^(?:(?:\[([\da-f:.]+)\]|([^\s:/[\]]+))?:)?(\d{1,5})$/i.exec(value)) || []
  if (port === undefined || Number(port) > 65_535) {
    const what = 'HOST:PORT, such as 127.0.0.1:8080 or [::]:8080, or a port on 127.0.0.1'
    throw new TypeError(`${name} must be ${what}, got ${shown(value)}`)
  }
  return { host: v6 ?? host, port: Number(port) }
})

/** What is the same for all paths. */
export const serverOptions = {
  bind: withDefault(address, '127.0.0.1:8080', 'where to listen; a port alone is one on 127.0.0.1'),
  metricsBind: optional(address, 'where to serve /metrics, /healthz and /readyz'),
  drain: withDefault(number(0, 86_400, 'SECONDS'), 10, 'how long a stop waits for requests'),
  logFormat: withDefault(choice(...logFormats), 'logfmt', 'how log lines are written'),
  logLevel: withDefault(choice(...logLevels), 'info', 'the least important lines that are logged'),
}

/** An option that the command has: under its name in a file, as a flag, and as a variable. */
export interface Setting {
  readonly name: string
  readonly flag: string
  readonly variable: string
  readonly option: Option<unknown, unknown>
  readonly text: TextForm
  readonly help: string
  /** A server's setting is the same for all paths. */
  readonly scope: 'server' | 'path'
}

export const prefix = 'RESILIENT_SSE_'

function settingsOf(scope: Setting['scope'], table: Readonly<Record<string, Option<unknown, unknown>>>) {
  return Object.entries(table).flatMap(([name, option]): Setting[] => {
    const { text, help } = option
    if (text === undefined || help === undefined) return []
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    const variable = prefix + flag.replaceAll('-', '_').toUpperCase()
    return [{ name, flag: `--${flag}`, variable, option, text, help, scope }]
  })
}

/** Every setting, in the order of the help. */
export const settings: readonly Setting[] = [
  ...settingsOf('server', serverOptions),
  ...settingsOf('path', proxyOptions),
  ...settingsOf('path', reconnectOptions),
  ...settingsOf('path', proxyRelayOptions),
  ...settingsOf('path', terminalOptions),
]

/** What `--help` prints. */
export function helpText(): string {
  const row = (left: string, help: string) =>
    `  ${left.length > 24 ? `${left}\n${' '.repeat(26)}` : left.padEnd(24)}  ${help}\n`
  const rows = (scope: Setting['scope']) =>
    settings
      .filter((setting) => setting.scope === scope)
      .map(({ flag, text, help, option }) =>
        row(
          `${flag} ${text.placeholder}`,
          `${help} (${option.required ? 'required' : `default ${option.default ?? 'none'}`})`,
        ),
      )
      .join('')
  return `Usage: resilient-sse --upstream URL [options]
       resilient-sse demo [--help]

Passes requests on to an upstream server, and keeps the event streams among its answers alive and whole while the
upstream comes and goes.

${rows('server')}${row('--config FILE', 'JSON: {"defaults": {"baseDelay": 500}, "paths": {"/v1/": {"upstream": "..."}}}')}\
${row('--help, -h', 'prints this')}${row('--version', 'prints the version')}
For each path (times in milliseconds):
${rows('path')}
Each option is also a variable (RESILIENT_SSE_BASE_DELAY) and a key of the file (baseDelay). The command line goes
before the environment, that before the file (there a path before defaults).

Exit code: 0 when stopped, 1 when it cannot run, 2 for a wrong option.
`
}
