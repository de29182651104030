import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { flawsOf, type Spread, spreadsOf } from './delays.ts'
import type { StampedeOptions } from './options.ts'
import { CheckedStream } from './streams.ts'

/** The ways in which all streams are lost, and whether their connections are to be older than base by then. */
const outages = [
  { name: 'the server is killed, and back when each stream was refused once', command: 'kill', aged: true },
  { name: 'all responses end cleanly', command: 'end', aged: true },
  { name: 'all responses end cleanly, sooner than base after they began', command: 'end', aged: false },
  { name: 'all connections are reset, then 503 with Retry-After', command: 'unavailable', aged: true },
] as const

type Outage = (typeof outages)[number]

export interface OutageResult {
  readonly name: string
  /** When the upstream was met by each connect, in milliseconds after it had lost everybody. */
  readonly connects: readonly number[]
  readonly spreads: readonly Spread[]
  readonly flaws: readonly string[]
}

/** Goes through all outages, one after another. */
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
  // Attempts that only a few streams had to make, late as the machine may be, have no spread to speak of.
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

/** Waits until something holds for every stream; fails with the error of one that failed, or when it takes for ever. */
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

/** The process that all streams come from. */
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

  /** Resolves when as many streams have come back. */
  lose(command: Outage['command'], count: number): Promise<number[]> {
    const connects = this.connects(count)
    this.send(command)
    return connects
  }

  /** Resolves when as many streams have come, with the times of it. Each such message is waited for, the first as well. */
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

/** @throws `RangeError` when the process may not open as many files as there are connections. */
function checkFileLimit(streams: number): void {
  const limits: unknown = Reflect.get(process.report.getReport(), 'userLimits')
  if (typeof limits !== 'object' || limits === null) return
  const files: unknown = Reflect.get(limits, 'open_files')
  const soft: unknown = typeof files === 'object' && files !== null ? Reflect.get(files, 'soft') : undefined
  if (typeof soft === 'number' && soft < streams + 100) {
    throw new RangeError(
      `${streams} streams need ${streams + 100} open files in each of two processes, and ${soft} are allowed (see ulimit -n)`,
    )
  }
}
