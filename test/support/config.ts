import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { type Config, ConfigError, type Route, readConfig } from '../../src/cli/config.ts'

export const upstream = 'http://upstream.test/'
export type Environment = Readonly<Record<string, string | undefined>>

export function configOf(args: readonly string[], env: Environment = {}): Config {
  const config = readConfig(args, env)
  if (typeof config === 'string') throw new Error(`asked for ${config}`)
  return config
}

export function routeOf(config: Config, path = '/'): Route {
  const route = config.routes.find((each) => each.path === path)
  if (!route) throw new Error(`no route ${path}`)
  return route
}

export function messageOf(args: readonly string[], env: Environment = {}): string {
  try {
    readConfig(args, env)
  } catch (error) {
    expect(error).to.be.instanceOf(ConfigError)
    return error instanceof Error ? error.message : ''
  }
  throw new Error('nothing was wrong')
}

/** A file with settings, which is deleted at the end of the block. */
export function fileOf(content: unknown): Disposable & { readonly path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'config-'))
  const path = join(folder, 'conf.json')
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return { path, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
}
