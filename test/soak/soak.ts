import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { memoryAfterCollection } from '../support/memory.ts'
import { until } from '../support/until.ts'
import { type SoakOptions, streamsOf } from './options.ts'
import { Relays } from './relays.ts'
import { isReport, type WorldReport } from './report.ts'
import { closedSourcesOf, type Sample, type Trend, trendsOf } from './samples.ts'

/** The result of a run. */
export interface Outcome {
  readonly trends: readonly Trend[]
  /** Sources of closed relays that were in memory during the run. */
  readonly closedSources: number
  readonly report: WorldReport | undefined
  readonly relays: Relays
  /** Open handles that were not open at the start, by type. */
  readonly leftOpen: ReadonlyMap<string, number>
  /** Warnings and uncaught errors. */
  readonly complaints: readonly string[]
  /** The memory after everything was closed. */
  readonly after: NodeJS.MemoryUsage
}

/** The state during a run. */
export interface Progress {
  readonly seconds: number
  readonly sample: Sample
  readonly report: WorldReport | undefined
  readonly relays: Relays
  readonly handles: ReadonlyMap<string, number>
}

/** Runs the relays in this process, and upstreams and clients in another process. */
export async function soak(options: SoakOptions, show: (progress: Progress) => void): Promise<Outcome> {
  const complaints = collectComplaints()
  const atStart = openHandles()
  const relays = new Relays(options)
  const world = new World(await relays.start(), options)
  // A shared log that keeps few events must not drop the first ones before every client has read them.
  await hold(world, relays, options)
  world.send('go')
  const duration = options.minutes * 60_000
  const interval = Math.min(10_000, Math.max(100, duration / 20))
  const start = performance.now()
  const samples: Sample[] = []
  const count = Math.round(duration / interval)
  for (let n = 1; n <= count && world.runs; n++) {
    await work(interval, relays, options)
    const sample = await sampleWhileHeld(world, relays, options, n / count)
    if (sample === undefined) continue
    samples.push(sample)
    const seconds = (performance.now() - start) / 1000
    show({ seconds, sample, report: world.report, relays, handles: openHandles() })
  }
  const report = await world.finish()
  await relays.close()
  const leftOpen = () => more(openHandles(), atStart)
  await until(
    () => leftOpen().size === 0 && relays.open === 0,
    () => 'everything closed',
    15_000,
  ).catch(() => {})
  const after = await memoryAfterCollection(10)
  return {
    trends: trendsOf(samples),
    closedSources: closedSourcesOf(samples),
    report,
    relays,
    leftOpen: leftOpen(),
    complaints,
    after,
  }
}

/** Waits for a time; on a busy machine longer, until a quarter of the usual number of drops has occurred. */
async function work(time: number, relays: Relays, options: SoakOptions): Promise<void> {
  const start = performance.now()
  // A stream usually needs about 300 ms to recover from a drop.
  const usual = (streamsOf(options) * time) / (1000 * options.life + 300)
  const enough = relays.drops + usual / 4
  await sleep(time)
  while (relays.drops < enough && performance.now() < start + time + 60_000) await sleep(50)
}

/**
 * Stops drops, and waits until every relay is connected.
 *
 * @returns Whether every relay was connected within a minute.
 */
async function hold(world: World, relays: Relays, options: SoakOptions): Promise<boolean> {
  world.send('hold')
  const limit = performance.now() + 60_000
  const isWhole = () => relays.open === options.relays && relays.connections === streamsOf(options)
  while (!isWhole() && world.runs && performance.now() < limit) await sleep(10)
  return isWhole()
}

/**
 * Measures the memory while drops are stopped and every relay is connected: otherwise the memory would depend on the number
 * of connected relays, which is random. After a minute without that state it returns undefined, and the run goes on.
 */
async function sampleWhileHeld(
  world: World,
  relays: Relays,
  options: SoakOptions,
  at: number,
): Promise<Sample | undefined> {
  const held = await hold(world, relays, options)
  const memory = await memoryAfterCollection(3)
  const sample = { at, closedSources: relays.sources - streamsOf(options), ...memory }
  world.send('go')
  return held ? sample : undefined
}

/** The process of upstreams and clients. */
class World {
  report: WorldReport | undefined
  runs = true
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>

  constructor(relay: string, options: SoakOptions) {
    const { relays, shared, rate, life, seed, faults } = options
    const args = [
      '--relay',
      relay,
      '--clients',
      String(relays),
      '--streams',
      String(streamsOf(options)),
      '--rate',
      String(rate),
      '--life',
      String(life),
      '--seed',
      String(seed),
    ]
    if (shared > 0) args.push('--shared')
    if (faults.includes('event')) args.push('--lose-one')
    this.#child = fork(new URL('world.ts', import.meta.url), args, { execArgv: ['--import', 'tsx'] })
    this.#child.on('message', (message) => {
      if (isReport(message)) this.report = message
    })
    this.#ended = once(this.#child, 'exit').then(() => {
      this.runs = false
    })
  }

  /** Lets the clients read every stream to its end. Resolves with the last report. */
  async finish(): Promise<WorldReport | undefined> {
    this.send('finish')
    await this.#ended
    return this.report?.final ? this.report : undefined
  }

  send(command: 'hold' | 'go' | 'finish'): void {
    if (this.#child.connected) this.#child.send(command)
  }
}

/** The numbers of open handles by type, without those that end with the current turn of the event loop. */
function openHandles(): Map<string, number> {
  const counts = new Map<string, number>()
  for (const type of process.getActiveResourcesInfo()) {
    if (type !== 'Immediate' && type !== 'TickObject') counts.set(type, (counts.get(type) ?? 0) + 1)
  }
  return counts
}

function more(now: ReadonlyMap<string, number>, before: ReadonlyMap<string, number>): Map<string, number> {
  const left = [...now].map(([type, count]) => [type, count - (before.get(type) ?? 0)] as const)
  return new Map(left.filter(([, count]) => count > 0))
}

function collectComplaints(): string[] {
  const complaints: string[] = []
  process.on('warning', ({ name, message }) => complaints.push(`${name}: ${message}`))
  process.on('uncaughtException', (error, origin) => complaints.push(`${origin}: ${error.stack}`))
  return complaints
}
