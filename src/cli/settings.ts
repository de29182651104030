import { constants } from 'node:buffer'
import { shown } from '../errors.ts'
import { longestTimer } from '../http/deadline.ts'
import { redactUrl } from '../http/url.ts'
import { logFormats, logLevels } from './log.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/** What values a setting takes. */
interface Kind<T> {
  readonly what: string
  readonly placeholder: string
  /** What the text of a flag or a variable stands for; what stands for nothing stays as it is. */
  fromText(text: string): unknown
  /** The value; undefined for a wrong one. */
  read(value: unknown): T | undefined
  show(value: unknown): string
}

export interface Setting<T> {
  readonly kind: Kind<T>
  /** As the help shows it. For a relay's settings it is the library's own default. */
  readonly byDefault: T | undefined
  /** A server's setting is the same for all paths. */
  readonly scope: 'server' | 'relay'
  readonly help: string
}

const asIs = (text: string): unknown => text

function numberFrom(least: number, most: number, placeholder: string, whole = false): Kind<number> {
  return {
    what: `a ${whole ? 'whole ' : ''}number from ${least} to ${most}`,
    placeholder,
    fromText: (text) => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : text),
    read(value) {
      // JSON has no Infinity.
      const number = value === 'Infinity' ? Number.POSITIVE_INFINITY : value
      if (typeof number !== 'number' || !(number >= least && number <= most)) return undefined
      return whole && !Number.isInteger(number) && number !== Number.POSITIVE_INFINITY ? undefined : number
    },
    show: shown,
  }
}

function choice<T extends string>(...values: readonly T[]): Kind<T> {
  return {
    what: values.join(' or '),
    placeholder: values.join('|'),
    fromText: asIs,
    read: (value) => values.find((each) => each === value),
    show: shown,
  }
}

const flag: Kind<boolean> = {
  what: 'true or false',
  placeholder: 'true|false',
  fromText: (text) => (text === 'true' ? true : text === 'false' ? false : text),
  read: (value) => (typeof value === 'boolean' ? value : undefined),
  show: shown,
}

const httpUrl: Kind<URL> = {
  what: 'an http: or https: URL without credentials, query and fragment',
  placeholder: 'URL',
  fromText: asIs,
  read(value) {
    const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
    if (url === undefined || !/^https?:$/.test(url.protocol)) return undefined
    return url.username + url.password + url.search + url.hash === '' ? url : undefined
  },
  // It may hold a password.
  show: (value) => shown(typeof value === 'string' ? redactUrl(value) : value),
}

const address: Kind<Address> = {
  what: 'HOST:PORT, such as 127.0.0.1:8080 or [::]:8080',
  placeholder: 'HOST:PORT',
  fromText: asIs,
  read(value) {
    const [, v6, name, port] =
      (typeof value === 'string' && /^(?:\[([\da-f:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/i.exec(value)) || []
    const host = v6 ?? name
    return host === undefined || Number(port) > 65_535 ? undefined : { host, port: Number(port) }
  },
  show: shown,
}

function server<T>(kind: Kind<T>, byDefault: T, help: string): Setting<T> & { readonly byDefault: T }
function server<T>(kind: Kind<T>, byDefault: undefined, help: string): Setting<T>
function server<T>(kind: Kind<T>, byDefault: T | undefined, help: string): Setting<T> {
  return { kind, byDefault, scope: 'server', help }
}

function relay<T>(kind: Kind<T>, byDefault: T | undefined, help: string): Setting<T> {
  return { kind, byDefault, scope: 'relay', help }
}

const forever = Number.POSITIVE_INFINITY
const delay = numberFrom(1, longestTimer, 'MS')
const time = numberFrom(0, longestTimer, 'MS')

/** Every setting, under the name that it has in a file. */
export const settings = {
  upstream: relay(httpUrl, undefined, 'where requests are passed on to'),
  bind: server(address, { host: '127.0.0.1', port: 8080 }, 'where to listen'),
  metricsBind: server(address, undefined, 'where to serve /metrics, /healthz and /readyz'),
  drain: server(numberFrom(0, 86_400, 'SECONDS'), 10, 'how long a stop waits for requests'),
  logFormat: server(choice(...logFormats), 'logfmt', 'how log lines are written'),
  logLevel: server(choice(...logLevels), 'info', 'the least important lines that are logged'),
  baseDelay: relay(delay, 1000, 'first delay of an outage, doubled for each further one'),
  maxDelay: relay(delay, 30_000, 'no delay of ours is longer'),
  minDelay: relay(delay, 100, "the least that the upstream's retry: can set"),
  maxRetries: relay(numberFrom(0, forever, 'N', true), 10, 'attempts without progress in one outage'),
  jitter: relay(numberFrom(0, 1, 'SHARE'), 0.1, 'random share taken off each delay'),
  maxRetryAfter: relay(time, 300_000, 'the most that Retry-After can ask for'),
  stableAfter: relay(numberFrom(0, forever, 'MS'), 60_000, 'a connection that lived this long is progress'),
  connectTimeout: relay(time, 30_000, "until the head of the upstream's response; 0: no limit"),
  idleTimeout: relay(time, 300_000, 'silence of an open upstream connection; 0: no limit'),
  idleResetOn: relay(choice('bytes', 'events'), 'bytes', 'what ends a silence'),
  maxEventSize: relay(
    numberFrom(1, constants.MAX_STRING_LENGTH, 'BYTES', true),
    16 * 2 ** 20,
    'of one event',
  ),
  windowBytes: relay(
    numberFrom(0, constants.MAX_STRING_LENGTH, 'BYTES', true),
    65_536,
    'kept of the latest events to know repeats by; 0: events are read one by one',
  ),
  heartbeat: relay(time, 15_000, 'silence after which a client gets a comment; 0: none'),
  retry: relay(time, undefined, 'the reconnection time that clients are told'),
  resume: relay(
    choice('always', 'with-cursor', 'before-first-event'),
    'always',
    'when to go on after the first event, for GET',
  ),
  statusEvents: relay(flag, false, 'send relay-status events to clients'),
  comments: relay(flag, true, "pass the upstream's comments on"),
}

/** The same by their names. */
export const named = new Map<string, Setting<unknown>>(Object.entries(settings))
export const prefix = 'RESILIENT_SSE_'

export const flagOf = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
export const variableOf = (name: string) => prefix + flagOf(name).replaceAll('-', '_').toUpperCase()

/** What `--help` prints. */
export function helpText(): string {
  const row = (left: string, help: string) =>
    `  --${left.length > 22 ? `${left}\n${' '.repeat(26)}` : left.padEnd(22)}  ${help}\n`
  const rows = (scope: string) =>
    [...named]
      .filter(([, setting]) => setting.scope === scope)
      .map(([name, { kind, help, byDefault }]) =>
        row(`${flagOf(name)} ${kind.placeholder}`, `${help}${defaultText(byDefault)}`),
      )
      .join('')
  return `Usage: resilient-sse --upstream URL [options]
       resilient-sse demo [--help]

Passes requests on to an upstream server, and keeps the event streams among its answers alive and whole while the
upstream comes and goes.

${rows('server')}${row('config FILE', 'JSON: {"defaults": {"baseDelay": 500}, "paths": {"/v1/": {"upstream": "..."}}}')}\
${row('help', 'prints this')}${row('version', 'prints the version')}
For each path (times in milliseconds):
${rows('relay')}
Each option is also a variable (${variableOf('baseDelay')}) and a key of the file (baseDelay). The command line goes
before the environment, that before the file (there a path before defaults).

Exit code: 0 when stopped, 1 when it cannot run, 2 for a wrong option.
`
}

function defaultText(value: unknown): string {
  if (value === undefined) return ''
  const bind = address.read(settings.bind.byDefault) ?? settings.bind.byDefault
  return ` (default ${value === settings.bind.byDefault ? `${bind.host}:${bind.port}` : value})`
}
