import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { asError, shown } from '../errors.ts'
import { logOptions } from '../hub/options.ts'
import { nearest, readGiven, readOptions, type ValuesOf } from '../options.ts'
import {
  type ProxyOptions,
  type ProxyRelayOptions,
  type ProxySharedOptions,
  proxyRelayOptions,
} from '../proxy/options.ts'
import { reconnectOptions } from '../reconnect/options.ts'
import {
  prefix,
  proxySettings,
  retentionSettings,
  type Setting,
  serverOptions,
  settings,
  shareOptions,
} from './settings.ts'
import { isTerminalEvent, terminalOptions } from './terminal.ts'

/** A setting is wrong, unknown or missing. The message names the setting, its place and its value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** The options for the requests whose path fits. */
export interface Route extends Omit<ProxyOptions, 'hub' | 'share'> {
  /** `/` fits every path; `/v1/` fits the paths below it; `/v1` fits itself and the paths below it. */
  readonly path: string
  readonly upstream: URL
  /** Only the options that are set; the library has the defaults. */
  readonly relay: ProxyRelayOptions
  readonly share: boolean
  /** Only the options that are set, also where nothing is shared. */
  readonly shared: ProxySharedOptions
}

export interface Config extends ValuesOf<typeof serverOptions> {
  /** Sorted, the longest path first. */
  readonly routes: readonly Route[]
}

/**
 * Whether a variable describes a service whose name starts with `resilient-sse`. Kubernetes sets such variables in every pod, and
 * Docker for the links of a container: NAME_SERVICE_HOST, NAME_SERVICE_PORT_HTTP, NAME_PORT (an address),
 * NAME_PORT_80_TCP_ADDR; Docker alone NAME_NAME (a path of containers) and NAME_ENV_X.
 */
function isServiceLink(variable: string, text: string): boolean {
  const [, form] = serviceLink.exec(variable) ?? []
  if (form === 'PORT') return /^(tcp|udp|sctp):\/\//.test(text)
  return form === 'NAME' ? text.startsWith('/') : form !== undefined
}

const serviceLink =
  /^RESILIENT_SSE_(?:\w+?_)??(SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?|PORT|NAME|ENV_\w+)$/

/** A value as it was given, and its place: a flag, a variable or a key of a file. */
interface Entry {
  readonly setting: Setting
  readonly value: unknown
  readonly place: string
}

/** The checked values of one source of settings, by the names of the settings. */
type Layer = ReadonlyMap<string, Entry>

/** @throws {@link ConfigError} */
function layerOf(entries: readonly Entry[]): Layer {
  for (const { setting, value, place } of entries) {
    try {
      setting.option.read(value, place)
    } catch (error) {
      throw new ConfigError(asError(error).message, { cause: error })
    }
  }
  return new Map(entries.map((entry) => [entry.setting.name, entry]))
}

/** Merged layers: the first layer that has a value wins. */
class Layers {
  readonly #entries: Layer

  constructor(...layers: readonly Layer[]) {
    this.#entries = new Map(layers.toReversed().flatMap((layer) => [...layer]))
  }

  /** The values that are set, by name, as they were given. */
  get given(): Readonly<Record<string, unknown>> {
    return Object.fromEntries([...this.#entries].map(([name, { value }]) => [name, value]))
  }

  placeOf(name: string): string | undefined {
    return this.#entries.get(name)?.place
  }
}

/**
 * Reads the settings from the command line, the environment, and the file that one of them names.
 *
 * @param args - The command line without Node and the script.
 * @throws {@link ConfigError}
 */
export function readConfig(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Config | 'help' | 'version' {
  const { help, version, config: file, ...flags }: Record<string, unknown> = parse(args)
  if (help === true) return 'help'
  if (version === true) return 'version'
  const commandLine = layerOf(
    settings.flatMap((setting) => {
      const { flag, text } = setting
      const value = flags[flag.slice(2)]
      return typeof value === 'string' ? [{ setting, value: text.parse(value), place: flag }] : []
    }),
  )
  const environment = environmentLayer(env)
  const { defaults, paths } =
    typeof file === 'string'
      ? readFile(file, '--config')
      : readFile(env[`${prefix}CONFIG`], `${prefix}CONFIG`)
  const all = new Layers(commandLine, environment, defaults)
  const routes = [...paths].map(([path, layer]) =>
    routeOf(path, new Layers(commandLine, environment, layer.values, defaults), layer.place),
  )
  if (!paths.has('/') && (routes.length === 0 || all.placeOf('upstream')))
    routes.push(routeOf('/', all, undefined))
  const server = readOptions(serverOptions, all.given)
  return { ...server, routes: routes.sort((a, b) => b.path.length - a.path.length) }
}

/** The route for a request's path. `routes` is sorted, the longest path first. */
export function routeFor<R extends Pick<Route, 'path'>>(routes: readonly R[], path: string): R | undefined {
  return routes.find(
    (route) =>
      path === route.path || path.startsWith(route.path.endsWith('/') ? route.path : `${route.path}/`),
  )
}

function parse(args: readonly string[]) {
  const flags = settings.map(({ flag }) => [flag.slice(2), { type: 'string' }] as const)
  const options = {
    ...Object.fromEntries(flags),
    config: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
    version: { type: 'boolean' },
  } as const
  const known = Object.keys(options).map((name) => `--${name}`)
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true })
  for (const token of tokens) {
    if (token.kind !== 'option' || Object.hasOwn(options, token.name)) continue
    throw new ConfigError(`${token.rawName} is not an option${proposal(token.rawName, known, '--')}`)
  }
  try {
    return parseArgs({ args: [...args], options }).values
  } catch (error) {
    // An option lacks its value, or there is an argument too many: the message of parseArgs names it.
    throw new ConfigError(asError(error).message.split('\n')[0], { cause: error })
  }
}

function environmentLayer(env: Readonly<Record<string, string | undefined>>): Layer {
  const entries = Object.entries(env).flatMap(([variable, text]): Entry[] => {
    if (!variable.startsWith(prefix) || text === undefined) return []
    if (variable === `${prefix}CONFIG` || isServiceLink(variable, text)) return []
    const setting = settingCalled(variable, 'variable', variable)
    return [{ setting, value: setting.text.parse(text), place: variable }]
  })
  return layerOf(entries)
}

/** @throws {@link ConfigError} */
function settingCalled(name: string, by: 'name' | 'variable', place: string): Setting {
  const setting = settings.find((each) => each[by] === name)
  if (setting !== undefined) return setting
  const known = settings.map((each) => each[by])
  throw new ConfigError(`${place} is not a setting${proposal(name, known, by === 'variable' ? prefix : '')}`)
}

/** The end of the message about an unknown name; empty when no known name is similar. */
function proposal(name: string, known: readonly string[], start: string): string {
  const near = nearest(name, known, start)
  return near === undefined ? '' : `, did you mean ${near}?`
}

interface FileLayers {
  readonly defaults: Layer
  readonly paths: ReadonlyMap<string, { readonly values: Layer; readonly place: string }>
}

function readFile(file: string | undefined, from: string): FileLayers {
  if (file === undefined) return { defaults: new Map(), paths: new Map() }
  const { defaults = {}, paths = {}, ...others } = objectAt(file, parseFile(file, from))
  for (const name of Object.keys(others)) {
    throw new ConfigError(`${file}: ${name} is unknown, a file has only defaults and paths`)
  }
  return {
    defaults: fileLayer(`${file}: defaults`, defaults),
    paths: new Map(
      Object.entries(objectAt(`${file}: paths`, paths)).map(([path, values]) => {
        const place = `${file}: paths.${path}`
        if (!/^\/[^?#]*$/.test(path))
          throw new ConfigError(`${place} must be a path that starts with /, got ${shown(path)}`)
        return [path, { values: pathLayer(place, values), place }]
      }),
    ),
  }
}

function parseFile(file: string, from: string): unknown {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigError(`${from}: cannot read ${shown(file)}: ${asError(error).message}`, { cause: error })
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ConfigError(`${file} (${from}) is not JSON: ${asError(error).message}`, { cause: error })
  }
}

function objectAt(place: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  throw new ConfigError(`${place} must be an object, got ${shown(value)}`)
}

function fileLayer(place: string, values: unknown): Layer {
  const entries = Object.entries(objectAt(place, values)).map(([name, value]) => {
    const setting = settingCalled(name, 'name', `${place}.${name}`)
    // JSON has no Infinity, so that a file holds it as text.
    return {
      setting,
      value: value === 'Infinity' ? setting.text.parse(value) : value,
      place: `${place}.${name}`,
    }
  })
  return layerOf(entries)
}

function pathLayer(place: string, values: unknown): Layer {
  const layer = fileLayer(place, values)
  for (const { setting, place } of layer.values()) {
    if (setting.scope === 'server')
      throw new ConfigError(`${place} is the same for all paths: it belongs in defaults`)
  }
  return layer
}

/** Without `drain`: the relay's option of this name is an object, while the setting is the server's time limit. */
const { drain: _, ...relaySettings } = proxyRelayOptions

/** Without `retention`, whose options are settings of their own. */
const { retention: __, ...logSettings } = logOptions

function routeOf(path: string, layers: Layers, place: string | undefined): Route {
  const { given } = layers
  const proxy = readGiven(proxySettings, given)
  const { upstream } = proxy
  if (upstream === undefined) {
    const missing = place === undefined ? '--upstream' : `${place}.upstream`
    throw new ConfigError(`${missing} is missing, got no URL there, in ${prefix}UPSTREAM or in a file`)
  }
  checkDelays(layers)
  const relay = {
    ...readGiven(relaySettings, given),
    ...terminalRelayOptions(readGiven(terminalOptions, given)),
    reconnect: readGiven(reconnectOptions, given),
    // The name is a label of metrics: it must not come from a URL or from a client.
    name: path,
  }
  const { share } = readOptions(shareOptions, given)
  return { ...proxy, path, upstream, relay, share, shared: sharedOptionsOf(given) }
}

function sharedOptionsOf(given: Readonly<Record<string, unknown>>): ProxySharedOptions {
  const { retentionEvents, retentionBytes, retentionAge } = readGiven(retentionSettings, given)
  const retention = { events: retentionEvents, bytes: retentionBytes, age: retentionAge }
  return { ...readGiven(logSettings, given), retention }
}

/** An end without the terminal event is a drop only when that event was set: few streams may end with the default one. */
function terminalRelayOptions({ terminal }: Partial<ValuesOf<typeof terminalOptions>>): ProxyRelayOptions {
  const last = terminal === undefined ? terminalOptions.terminal.read(undefined, 'terminal') : terminal
  if (last === null) return {}
  return {
    isTerminal: (event) => isTerminalEvent(last, event),
    endWithoutTerminal: terminal === undefined ? 'end' : 'drop',
  }
}

function checkDelays(layers: Layers): void {
  const { minDelay, maxDelay = reconnectOptions.maxDelay.default } = readGiven(reconnectOptions, layers.given)
  if (minDelay === undefined || maxDelay === undefined || minDelay <= maxDelay) return
  const most = `${layers.placeOf('maxDelay') ?? 'maxDelay'} (${maxDelay})`
  throw new ConfigError(`${layers.placeOf('minDelay')} must not be above ${most}, got ${minDelay}`)
}
