import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { flawsOf, type Spread, spreadsOf } from './delays.ts'
import type { StampedeOptions } from './options.ts'
import { CheckedStream } from './streams.ts'

/** The kinds of outages. `aged`: the connections are open for longer than the base delay when the outage begins. */
const outages = [
  {
    name: 'the server is killed, and returns when each stream was refused once',
    command: 'kill',
    aged: true,
  },
  { name: 'all responses end cleanly', command: 'end', aged: true },
  {
    name: 'all responses end cleanly, sooner than the base delay after their start',
    command: 'end',
    aged: false,
  },
  { name: 'all connections are reset, then 503 with Retry-After', command: 'unavailable', aged: true },
] as const

type Outage = (typeof outages)[number]

export interface OutageResult {
  readonly name: string
  /** The time of each connect, in milliseconds after the outage began. */
  readonly connects: readonly number[]
  readonly spreads: readonly Spread[]
  readonly flaws: readonly string[]
}

/** Runs all outages, one after another, and returns their flaws. */
export async function stampede(
  options: StampedeOptions,
  show: (result: OutageResult) => void,
): Promise<string[]> {
  checkFileLimit(options.streams)
  const upstream = new UpstreamProcess(options)
  const agent = new http.Agent({ keepAlive: true })
  const url = `http://127.0.0.1:${await upstream.port}/`
  const reconnect = { baseDelay: options.base, jitter: options.jitter, maxRetries: 100 }
  const streams = Array.from(
    { length: options.streams },
    (_, n) => new CheckedStream(`${url}${n}`, agent, reconnect),
  )
  const flaws: string[] = []
  try {
    await upstream.connects(options.streams)
    for (const outage of outages) {
      const result = await goThrough(outage, options, streams, upstream)
      show(result)
      flaws.push(...result.flaws)
    }
  } finally {
    for (const stream of streams) stream.close()
    agent.destroy()
    await upstream.close()
  }
  return flaws
}

async function goThrough(
  { name, command, aged }: Outage,
  { base, jitter, streams: count }: StampedeOptions,
  streams: readonly CheckedStream[],
  upstream: UpstreamProcess,
): Promise<OutageResult> {
  const isReady = ({ isFresh, openFor }: CheckedStream) => isFresh && (!aged || openFor > base)
  await all(streams, isReady, 'an event over each connection', base)
  for (const stream of streams) stream.forget()
  const back = upstream.lose(command, count)
  if (command === 'kill') {
    await all(streams, ({ delays }) => delays.some(({ attempt }) => attempt > 0), 'a refused attempt', base)
    upstream.send('return')
  }
  const connects = await back
  await all(streams, ({ isFresh }) => isFresh, 'the next event of each stream', base)
  const delays = streams.flatMap((stream) => stream.delays)
  const spreads = spreadsOf({ baseDelay: base, maxDelay: 30_000, jitter }, delays)
  // On a busy machine a few streams need further attempts, which are too few for a check of their spread.
  const flaws = spreads.filter((spread) => spread.count >= count / 2).flatMap(flawsOf)
  return { name, connects, spreads, flaws: [...flaws, ...lossesOf(streams)] }
}

function lossesOf(streams: readonly CheckedStream[]): string[] {
  const flaws: string[] = []
  for (const flaw of ['twice', 'outOfOrder', 'damaged'] as const) {
    const total = streams.reduce((sum, { ledger }) => sum + ledger[flaw], 0)
    if (total > 0) flaws.push(`events ${flaw}: ${total}`)
  }
  const lost = streams.reduce((sum, { ledger }) => sum + ledger.lost(), 0)
  if (lost > 0) flaws.push(`events lost: ${lost}`)
  return flaws
}

/** Waits until a condition holds for every stream. Fails when a stream fails, and after a timeout. */
async function all(
  streams: readonly CheckedStream[],
  holds: (stream: CheckedStream) => boolean,
  what: string,
  base: number,
): Promise<void> {
  const limit = performance.now() + 60_000 + 20 * base
  while (!streams.every(holds)) {
    const failed = streams.find(({ error }) => error !== undefined)
    if (failed) throw new Error(`a stream failed: ${failed.error?.message}`, { cause: failed.error })
    if (performance.now() > limit) {
      throw new Error(`${streams.filter((stream) => !holds(stream)).length} streams wait for: ${what}`)
    }
    await sleep(base / 50)
  }
}

/** The upstream's process. */
class UpstreamProcess {
  readonly port: Promise<number>
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>

  constructor({ streams, base }: StampedeOptions) {
    const args = ['--streams', String(streams), '--base', String(base)]
    this.#child = fork(new URL('upstream.ts', import.meta.url), args, { execArgv: ['--import', 'tsx'] })
    this.#ended = once(this.#child, 'exit')
    this.port = this.#next('port', (value) => typeof value === 'number')
  }

  /** Starts an outage. Resolves when `count` streams have reconnected. */
  lose(command: Outage['command'], count: number): Promise<number[]> {
    const connects = this.connects(count)
    this.send(command)
    return connects
  }

  /** Resolves when `count` streams have connected, with the times of their connects. */
  connects(count: number): Promise<number[]> {
    const isWhole = (value: unknown): value is number[] =>
      Array.isArray(value) && value.length === count && value.every((each) => typeof each === 'number')
    return this.#next('connects', isWhole)
  }

  send(command: string): void {
    this.#child.send(command)
  }

  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect()
    await this.#ended
  }

  #next<T>(field: string, fits: (value: unknown) => value is T): Promise<T> {
    return new Promise((resolve, reject) => {
      const onExit = () => reject(new Error('the upstream process ended'))
      const onMessage = (message: unknown) => {
        const value: unknown =
          typeof message === 'object' && message !== null ? Reflect.get(message, field) : undefined
        if (!fits(value)) return
        this.#child.off('message', onMessage)
        this.#child.off('exit', onExit)
        resolve(value)
      }
      this.#child.on('message', onMessage)
      this.#child.once('exit', onExit)
    })
  }
}

/** @throws `RangeError` when the limit of open files is too low for the connections. */
function checkFileLimit(streams: number): void {
  const limits: unknown = Reflect.get(process.report.getReport(), 'userLimits')
  if (typeof limits !== 'object' || limits === null) return
  const files: unknown = Reflect.get(limits, 'open_files')
  const soft: unknown = typeof files === 'object' && files !== null ? Reflect.get(files, 'soft') : undefined
  if (typeof soft === 'number' && soft < streams + 100) {
    throw new RangeError(
      `${streams} streams need ${streams + 100} open files in each of two processes, but only ${soft} are allowed (see ulimit -n)`,
    )
  }
}
