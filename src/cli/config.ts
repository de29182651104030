import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { asError, shown } from '../errors.ts'
import type { ProxyRelayOptions } from '../proxy/proxy.ts'
import type { LogLevel, LogOptions } from './log.ts'
import { type Address, flagOf, named, prefix, type Setting, settings, variableOf } from './settings.ts'

/** A value that is wrong, unknown or missing; the message names it, its place, and what it got. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** Where requests go whose path fits, and what becomes of event streams there. */
export interface Route {
  /** `/` fits every path, `/v1/` what is below it, `/v1` itself and what is below it. */
  readonly path: string
  readonly upstream: URL
  /** Milliseconds; undefined: the library's default, as with the relay's options. */
  readonly connectTimeout: number | undefined
  readonly relay: ProxyRelayOptions
}

export interface Config {
  readonly bind: Address
  readonly metricsBind: Address | undefined
  /** Seconds. */
  readonly drain: number
  readonly logFormat: LogOptions['format']
  readonly logLevel: LogLevel
  /** The longest path first. */
  readonly routes: readonly Route[]
}

/** Kubernetes sets these in every pod beside a service that is called resilient-sse. */
const serviceLink = /^RESILIENT_SSE_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)/

/** What one place says: values that have been checked, by their settings. */
type Layer = ReadonlyMap<Setting<unknown>, { readonly value: unknown; readonly place: string }>

/** @throws {@link ConfigError} */
function layerOf(values: Iterable<readonly [place: string, name: string, value: unknown]>): Layer {
  return new Map(
    [...values].map(([place, name, value]) => {
      const setting = named.get(name)
      if (setting === undefined) throw new ConfigError(`${place} is no setting, see --help`)
      const { kind } = setting
      if (kind.read(value) === undefined)
        throw new ConfigError(`${place} must be ${kind.what}, got ${kind.show(value)}`)
      return [setting, { value, place }]
    }),
  )
}

/** Layers, the first one that has a value decides. */
class Layers {
  readonly #layers: readonly Layer[]

  constructor(...layers: readonly Layer[]) {
    this.#layers = layers
  }

  find<T>(setting: Setting<T>): T | undefined {
    const value = this.#layers.find((layer) => layer.has(setting))?.get(setting)?.value
    return value === undefined ? undefined : setting.kind.read(value)
  }

  placeOf(setting: Setting<unknown>): string | undefined {
    return this.#layers.find((layer) => layer.has(setting))?.get(setting)?.place
  }
}

/**
 * Options from a command line (without node and the script), an environment, and the file that either names.
 *
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
    [...named].flatMap(([name, { kind }]) => {
      const text = flags[flagOf(name)]
      return typeof text === 'string' ? [[`--${flagOf(name)}`, name, kind.fromText(text)] as const] : []
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
  if (!paths.has('/') && (routes.length === 0 || all.placeOf(settings.upstream)))
    routes.push(routeOf('/', all, undefined))
  return { ...serverOptions(all), routes: routes.sort((a, b) => b.path.length - a.path.length) }
}

/** The route that a request for this path takes. */
export function routeFor<R extends Pick<Route, 'path'>>(routes: readonly R[], path: string): R | undefined {
  return routes.find(
    (route) =>
      path === route.path || path.startsWith(route.path.endsWith('/') ? route.path : `${route.path}/`),
  )
}

function parse(args: readonly string[]) {
  try {
    const flags = [...named.keys()].map((name) => [flagOf(name), { type: 'string' }] as const)
    return parseArgs({
      args: [...args],
      options: {
        ...Object.fromEntries(flags),
        config: { type: 'string' },
        help: { type: 'boolean' },
        version: { type: 'boolean' },
      },
    }).values
  } catch (error) {
    // An unknown option, one without its value, an argument too many: parseArgs names it.
    throw new ConfigError(asError(error).message.split('\n')[0], { cause: error })
  }
}

function environmentLayer(env: Readonly<Record<string, string | undefined>>): Layer {
  const names = new Map([...named.keys()].map((name) => [variableOf(name), name]))
  return layerOf(
    Object.entries(env).flatMap(([variable, text]) => {
      if (!variable.startsWith(prefix) || text === undefined) return []
      if (variable === `${prefix}CONFIG` || serviceLink.test(variable)) return []
      const name = names.get(variable) ?? variable
      return [[variable, name, named.get(name)?.kind.fromText(text) ?? text] as const]
    }),
  )
}

interface FileLayers {
  readonly defaults: Layer
  readonly paths: ReadonlyMap<string, { readonly values: Layer; readonly place: string }>
}

function readFile(file: string | undefined, from: string): FileLayers {
  if (file === undefined) return { defaults: new Map(), paths: new Map() }
  const { defaults = {}, paths = {}, ...others } = objectAt(file, parseFile(file, from))
  for (const name of Object.keys(others)) {
    throw new ConfigError(`${file}: ${name} is unknown, a file has defaults and paths`)
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
    throw new ConfigError(`${file} (${from}) is no JSON: ${asError(error).message}`, { cause: error })
  }
}

function objectAt(place: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  throw new ConfigError(`${place} must be an object, got ${shown(value)}`)
}

function fileLayer(place: string, values: unknown): Layer {
  return layerOf(
    Object.entries(objectAt(place, values)).map(([name, value]) => [`${place}.${name}`, name, value]),
  )
}

function pathLayer(place: string, values: unknown): Layer {
  const layer = fileLayer(place, values)
  for (const [{ scope }, { place }] of layer) {
    if (scope === 'server')
      throw new ConfigError(`${place} is the same for all paths: it belongs in defaults`)
  }
  return layer
}

function serverOptions(layers: Layers): Omit<Config, 'routes'> {
  const { bind, metricsBind, drain, logFormat, logLevel } = settings
  return {
    bind: layers.find(bind) ?? bind.byDefault,
    metricsBind: layers.find(metricsBind),
    drain: layers.find(drain) ?? drain.byDefault,
    logFormat: layers.find(logFormat) ?? logFormat.byDefault,
    logLevel: layers.find(logLevel) ?? logLevel.byDefault,
  }
}

function routeOf(path: string, layers: Layers, place: string | undefined): Route {
  const upstream = layers.find(settings.upstream)
  if (upstream === undefined) {
    const missing = place === undefined ? '--upstream' : `${place}.upstream`
    throw new ConfigError(
      `${missing} is missing, got no URL there, in ${variableOf('upstream')} or in a file`,
    )
  }
  checkDelays(layers)
  return { path, upstream, connectTimeout: layers.find(settings.connectTimeout), relay: relayOptions(layers) }
}

function checkDelays(layers: Layers): void {
  const minDelay = layers.find(settings.minDelay)
  const maxDelay = layers.find(settings.maxDelay) ?? settings.maxDelay.byDefault
  if (minDelay === undefined || maxDelay === undefined || minDelay <= maxDelay) return
  const most = `${layers.placeOf(settings.maxDelay) ?? 'maxDelay'} (${maxDelay})`
  throw new ConfigError(`${layers.placeOf(settings.minDelay)} must not be above ${most}, got ${minDelay}`)
}

/** What is not set is left to the library's defaults. */
function relayOptions(layers: Layers): ProxyRelayOptions {
  const find = <T>(setting: Setting<T>) => layers.find(setting)
  return {
    reconnect: {
      baseDelay: find(settings.baseDelay),
      maxDelay: find(settings.maxDelay),
      minDelay: find(settings.minDelay),
      maxRetries: find(settings.maxRetries),
      jitter: find(settings.jitter),
      maxRetryAfter: find(settings.maxRetryAfter),
      stableAfter: find(settings.stableAfter),
    },
    idleTimeout: find(settings.idleTimeout),
    idleResetOn: find(settings.idleResetOn),
    maxEventSize: find(settings.maxEventSize),
    windowBytes: find(settings.windowBytes),
    heartbeat: find(settings.heartbeat),
    retry: find(settings.retry),
    resume: find(settings.resume),
    statusEvents: find(settings.statusEvents),
    comments: find(settings.comments),
  }
}
