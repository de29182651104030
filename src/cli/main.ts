import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type http from 'node:http'
import type { AddressInfo } from 'node:net'
import { asError } from '../errors.ts'
import { createAdminServer } from './admin.ts'
import { type Config, ConfigError, readConfig } from './config.ts'
import { Gateway } from './gateway.ts'
import { createLogger, oneLine } from './log.ts'
import { openRedisStore } from './redis.ts'
import { type Address, helpText } from './settings.ts'

/** Runs the command: parses the arguments, serves, and sets the exit code. */
export async function main(args: readonly string[]): Promise<void> {
  // The command goes on when the reader of its log closes the pipe.
  process.stderr.on('error', () => {})
  try {
    if (args[0] === 'demo') {
      const { demo } = await import('../demo/main.ts')
      process.exitCode = await demo(args.slice(1), process)
      return
    }
    const config = readConfig(args, process.env)
    if (config === 'help') process.stdout.write(helpText())
    else if (config === 'version') process.stdout.write(`${version()}\n`)
    else await run(config)
  } catch (error) {
    const wrong = error instanceof ConfigError
    process.stderr.write(`resilient-sse: ${oneLine(asError(error).message)}${wrong ? ' (see --help)' : ''}\n`)
    // One of the two servers may be listening, and would keep the process alive.
    process.exit(wrong ? 2 : 1)
  }
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown'
}

/** Serves until a signal arrives, and drains. */
async function run(config: Config): Promise<void> {
  const { bind, metricsBind, drain, redis, logFormat, logLevel, routes } = config
  const log = createLogger({
    format: logFormat,
    level: logLevel,
    write: (line) => process.stderr.write(line),
  })
  const shares = routes.some(({ share }) => share)
  if (redis && !shares) log.warn({}, 'redis is not used: no path has the setting share')
  const store = redis && shares ? await openRedisStore(redis, log) : undefined
  const gateway = new Gateway(routes, log, store)
  const admin = metricsBind && (await createAdminServer(gateway))
  if (admin) log.info({ address: await listen(admin, metricsBind) }, 'metrics listening')
  log.info({ address: await listen(gateway.server, bind) }, 'listening')
  const onFault = (fault: unknown) => log.error({ err: asError(fault) }, 'fault')
  // A fault in one request must not end the streams of other requests.
  process.on('uncaughtException', onFault).on('unhandledRejection', onFault)
  await firstSignal()
  await gateway.drain(drain * 1000)
  log.info({}, 'stopped')
  process.exit(0)
}

/** Resolves at the first SIGINT or SIGTERM. The second one ends the process at once. */
async function firstSignal(): Promise<void> {
  await new Promise<void>((resolve) => {
    let stopping = false
    const onSignal = (_: string, number: number) => {
      if (stopping) process.exit(128 + number)
      stopping = true
      resolve()
    }
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  })
}

/** @returns The address, with the port that the system chose for port 0. */
async function listen(server: http.Server, { host, port }: Address): Promise<string> {
  const shown = (port: number) => `${host.includes(':') ? `[${host}]` : host}:${port}`
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (error) {
    throw new Error(`cannot listen on ${shown(port)}: ${asError(error).message}`, { cause: error })
  }
  const address: AddressInfo | string | null = server.address()
  return shown(typeof address === 'object' && address !== null ? address.port : port)
}
