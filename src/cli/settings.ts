import { shown } from '../errors.ts'
import { redactUrl } from '../http/url.ts'
import { logOptions, retentionOptions } from '../hub/options.ts'
import {
  choice,
  flag,
  number,
  type Option,
  optional,
  type TextForm,
  withDefault,
  written,
} from '../options.ts'
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

const redisForm =
  'a URL such as redis://HOST:6379 or rediss://USER:PASSWORD@HOST:6379/0, or URLs of servers of a cluster with commas between them'

/** One URL of a server, or several of one cluster. */
const redisUrls = written<readonly URL[], string>('URL[,URL...]', (value, name) => {
  // A password may have a comma.
  const texts = typeof value === 'string' ? value.split(/,(?=[a-z][a-z\d+.-]*:)/i) : ['']
  const urls = texts.flatMap((text) => (URL.canParse(text) ? [new URL(text)] : [])).filter(isRedisUrl)
  if (urls.length < texts.length) {
    // The message is logged, and a URL may have a password: where a wrong list has passwords is unknown.
    const isList = typeof value === 'string' && value.includes(',')
    const got = shown(typeof value === 'string' ? redactUrl(value) : value)
    throw new TypeError(`${name} must be ${redisForm}, got ${isList ? 'a list with a wrong URL' : got}`)
  }
  if (urls.length > 1 && !isOneCluster(urls)) {
    throw new TypeError(
      `${name} must be a list of URLs with the same scheme, user and password, and no database but 0`,
    )
  }
  return urls
})

/** What the package redis would ignore, or throw at with less to say. */
function isRedisUrl({ protocol, hostname, username, password, pathname, search, hash }: URL): boolean {
  if (!/^rediss?:$/.test(protocol) || !/^[^,]+$/.test(hostname) || search + hash !== '') return false
  // A percent sign of a password has to be escaped.
  return /^(\/\d*)?$/.test(pathname) && !/%(?![\da-f]{2})/i.test(username + password)
}

/** A cluster names its further servers by host and port alone, and has one database. */
function isOneCluster(urls: readonly URL[]): boolean {
  const access = urls.map(({ protocol, username, password }) => `${protocol}//${username}:${password}`)
  return new Set(access).size === 1 && urls.every(({ pathname }) => /^\/?0?$/.test(pathname))
}

/** Options that are the same for all paths. */
export const serverOptions = {
  bind: withDefault(address, '127.0.0.1:8080', 'where to listen; a port alone means 127.0.0.1'),
  metricsBind: optional(address, 'where to serve /metrics, /healthz and /readyz'),
  drain: withDefault(number(0, 86_400, 'SECONDS'), 10, 'how long a stop waits for open requests'),
  redis: optional(redisUrls, 'keeps shared streams in Redis, for several processes'),
  logFormat: withDefault(choice(...logFormats), 'logfmt', 'format of log lines'),
  logLevel: withDefault(choice(...logLevels), 'info', 'the lowest level that is logged'),
}

/** Whether clients share the event streams of a path: the command has one hub for all of them. */
export const shareOptions = {
  share: withDefault(
    flag,
    false,
    'one upstream connection for all requests with the same credentials that accept text/event-stream',
  ),
}

/** The options of `retention`, an object in the library. */
export const retentionSettings = {
  retentionEvents: retentionOptions.events,
  retentionBytes: retentionOptions.bytes,
  retentionAge: retentionOptions.age,
}

/** The proxy's options, without those that are functions and objects in the library, and other settings here. */
const { share, hub, shared, ...remaining } = proxyOptions
export const proxySettings = remaining

/** An option of the command: a key in a file, a flag, and an environment variable. */
export interface Setting {
  readonly name: string
  readonly flag: string
  readonly variable: string
  readonly option: Option<unknown, unknown>
  readonly text: TextForm
  readonly help: string
  /** A setting with the scope `server` is the same for all paths. */
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
  ...settingsOf('path', proxySettings),
  ...settingsOf('path', reconnectOptions),
  ...settingsOf('path', proxyRelayOptions),
  ...settingsOf('path', terminalOptions),
  ...settingsOf('path', shareOptions),
  ...settingsOf('path', logOptions),
  ...settingsOf('path', retentionSettings),
]

/** The text that `--help` prints. */
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
       resilient-sse demo [--check] [--help]

Passes requests on to an upstream server. An event stream that the upstream drops is reopened and resumed, while the
client's response stays open.

${rows('server')}${row('--config FILE', 'JSON: {"defaults": {"baseDelay": 500}, "paths": {"/v1/": {"upstream": "..."}}}')}\
${row('--help, -h', 'prints this')}${row('--version', 'prints the version')}
For each path (times in milliseconds):
${rows('path')}
Each option is also a variable (RESILIENT_SSE_BASE_DELAY) and a key of the file (baseDelay). The command line overrides
the environment, the environment overrides the file, and in the file a path overrides defaults.

Exit code: 0 when stopped, 1 when it cannot run, 2 for a wrong option.
`
}
