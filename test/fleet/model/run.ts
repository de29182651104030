import { setTimeout as sleep } from 'node:timers/promises'
import type { Entry } from '../../../src/hub/store.ts'
import { StoredLog } from '../../chaos/shared-check.ts'
import { wire } from '../../support/events.ts'
import { type Publisher, publisher } from '../../support/publisher.ts'
import { type RedisServer, startRedis } from '../../support/redis.ts'
import { eventually } from '../fleet.ts'
import { ModelClient, type World } from './client.ts'
import { eventsOf, faultsInLog } from './log-check.ts'
import { Machine, type Pool } from './machines.ts'
import { lease, type Plan, type PlannedFault, planOf } from './plan.ts'
import { RedisWatch } from './redis-watch.ts'

export interface ModelResult {
  readonly seed: number
  readonly events: number
  readonly epochs: number
  readonly expired: number
  /** What must not be; empty for a run that is whole. */
  readonly faults: readonly string[]
  readonly trace: readonly string[]
}

/** The most times that a plan is tried. */
const mostTries = 5

/**
 * Runs the plan of a seed. On a busy machine, the owner of a session may lose its lease before the first event: then the session fails,
 * and a later client opens another one. The run says nothing of the first one's clients, and starts again.
 */
export async function runModel(seed: number, pool: Pool): Promise<ModelResult> {
  for (let tries = 1; ; tries++) {
    const run = await Run.start(planOf(seed), pool)
    await play(run)
    if (!run.hasFailedEarly || tries === mostTries) return run.result
  }
}

async function play(run: Run): Promise<void> {
  try {
    await run.play()
    if (run.hasFailedEarly) throw new Error('the session has failed before its first event')
    await run.settle()
    await run.check()
  } catch (error) {
    run.faults.push(error instanceof Error ? error.message : String(error))
  } finally {
    await run.end()
  }
}

class Run implements World {
  readonly faults: string[] = []
  isOver = false
  /** Whether the session has failed before its first event. */
  hasFailedEarly = false
  readonly #plan: Plan
  readonly #upstream: Publisher
  readonly #redis: RedisServer
  readonly #machines: readonly Machine[]
  readonly #watch: RedisWatch
  readonly #clients: readonly ModelClient[]
  readonly #reading: Promise<void>[] = []
  readonly #trace: string[] = []
  readonly #started = performance.now()
  /** The machines to which a fault happens, and the tasks that begin and mend faults. */
  readonly #disturbed = new Set<number>()
  readonly #tasks: Promise<void>[] = []
  #published = 0
  /** The number of times that two machines had an upstream for longer than some turns of the event loop. */
  #overlaps = 0
  #entries: Entry[] = []

  private constructor(
    plan: Plan,
    upstream: Publisher,
    redis: RedisServer,
    machines: readonly Machine[],
    watch: RedisWatch,
  ) {
    this.#plan = plan
    this.#upstream = upstream
    this.#redis = redis
    this.#machines = machines
    this.#watch = watch
    this.#clients = plan.clients.map((each) => new ModelClient(each, this))
  }

  static async start(plan: Plan, pool: Pool): Promise<Run> {
    const redis = await startRedis()
    const upstream = await publisher(wire)
    const url = upstream.server.url
    const machines = await Promise.all(plan.packages.map((_, n) => Machine.start(n, plan, url, redis, pool)))
    const run = new Run(plan, upstream, redis, machines, await RedisWatch.start(redis.url))
    upstream.server.server.on('request', () => void run.#watchOverlap())
    return run
  }

  get urls(): readonly string[] {
    return this.#machines.flatMap(({ url }) => url ?? [])
  }

  get mayFail(): boolean {
    return this.#plan.kind === 'session'
  }

  get result(): ModelResult {
    const { seed } = this.#plan
    return {
      seed,
      events: eventsOf(this.#entries).length,
      epochs: this.#watch.leases.epochs.size,
      expired: this.#watch.leases.expired,
      faults: [
        ...this.faults,
        ...this.#watch.leases.faults,
        ...this.#machines.flatMap(({ faults }) => faults),
      ],
      trace: this.#trace,
    }
  }

  trace(text: string): void {
    this.#trace.push(`${Math.round(performance.now() - this.#started)} ms: ${text}`)
  }

  /** Publishes every event, and lets happen what is planned. */
  async play(): Promise<void> {
    const { events, kind, random, cancel, pauses } = this.#plan
    this.#come()
    await eventually(
      () => this.#upstream.server.requests.length > 0 || this.#clients.some(({ last }) => last),
      () => 'the upstream is open',
    )
    while (this.#published < events) {
      this.#publish()
      const n = this.#published
      this.#come()
      // An answer of which nothing is stored may be asked for again by another request.
      if (n === 1 && kind === 'session') await this.#hasFirstEvent()
      if (this.hasFailedEarly) return
      for (const fault of this.#plan.faults.filter(({ at }) => at === n)) this.#disturb(fault)
      for (const { duration } of pauses.filter(({ at }) => at === n)) this.#tasks.push(this.#pause(duration))
      if (cancel?.at === n) this.#tasks.push(this.#cancel(cancel.machine))
      await this.#checkLives()
      await sleep((random() < 0.1 ? lease : 20) * random())
    }
    await Promise.all(this.#tasks)
    this.trace('every fault is mended')
    await this.#hasOneUpstream()
    for (let n = 0; n < 3; n++) this.#publish()
    if (kind === 'session') this.#upstream.end()
  }

  /** Waits until all clients have everything, and ends the stream. */
  async settle(): Promise<void> {
    if (this.#plan.kind === 'feed' && !(await this.#watch.isEnded())) {
      for (const { steps, plan } of this.#clients) {
        const text = `event ${this.#published}`
        // A client that has come after the last event, and starts with the next one, gets nothing.
        const isAt = () => steps.some((step) => step.what === 'event' && step.data === text)
        if (plan.from === 'start') await eventually(isAt, () => `client ${plan.number} has ${text}`)
      }
    }
    this.isOver = true
    const ends = this.#plan.ending === 'cancel' || this.#plan.kind === 'session'
    if (!ends && !(await this.#watch.isEnded())) {
      this.trace('all hubs are closed')
      for (const client of this.#clients) client.leave()
      await Promise.all(this.#machines.map((machine) => machine.close(0)))
    } else {
      if (this.#plan.kind === 'feed' && !(await this.#watch.isEnded())) await this.#cancel(0)
      await eventually(
        () => this.#clients.every(({ last, faults }) => last || faults.length > 0),
        () =>
          `every client is done: ${this.#clients.map(({ last, lastEventId }) => `${last} ${lastEventId}`)}`,
      )
    }
    for (const client of this.#clients) client.leave()
    await Promise.all(this.#reading)
  }

  async check(): Promise<void> {
    this.#entries = await this.#watch.readLog()
    const log = new StoredLog(eventsOf(this.#entries))
    const dataOf = (n: number) =>
      this.#plan.kind === 'session' && n > this.#published ? '[DONE]' : `event ${n}`
    this.faults.push(...faultsInLog(this.#entries, dataOf))
    const end = this.#entries.at(-1)
    const how = end?.kind === 'end' ? end.how : 'running'
    if (how === 'failed' && !this.mayFail) this.faults.push('the stream has failed')
    for (const { plan, steps, faults, last } of this.#clients) {
      const { lost, twice, damaged, notes } = log.compare(steps, plan.from === 'start', false)
      if (lost + twice + damaged > 0)
        this.faults.push(`client ${plan.number}: lost ${lost}, twice ${twice}, damaged ${damaged}: ${notes}`)
      if (steps.some(({ what }) => what === 'gap'))
        this.faults.push(`client ${plan.number} was told of a gap`)
      this.faults.push(...faults)
      if (last && (last === 502) !== (how === 'failed'))
        this.faults.push(`client ${plan.number} was answered ${last}, and the stream is ${how}`)
    }
    const { epochs, expired } = this.#watch.leases
    const requests = this.#upstream.server.requests.length
    if (requests > epochs.size) this.faults.push(`${requests} requests in ${epochs.size} epochs`)
    if (this.#plan.kind === 'session' && requests > 1) this.faults.push(`the POST was sent ${requests} times`)
    if (this.#overlaps > expired)
      this.faults.push(`${this.#overlaps} times two upstreams, and ${expired} leases that have run out`)
    await this.#checkLives()
  }

  /** Closes everything; nothing of the hubs may be left in Redis. */
  async end(): Promise<void> {
    this.isOver = true
    for (const client of this.#clients) client.leave()
    await Promise.allSettled(this.#tasks)
    this.#redis.wake()
    await Promise.all(this.#machines.map((machine) => machine.end()))
    // The lease of an owner that was killed ends by itself.
    const mayHold = this.#plan.faults.some(({ fault }) => fault === 'killed')
    const left = await this.#watch.leftovers(mayHold)
    this.faults.push(...left.map((what) => `hubs that were closed have left ${what}`))
    this.#watch.close()
    await this.#redis[Symbol.asyncDispose]()
    await this.#upstream[Symbol.asyncDispose]()
  }

  /** Lets the clients come that are due. */
  #come(): void {
    for (const client of this.#clients) {
      if (client.plan.comesAt !== this.#published) continue
      this.trace(`client ${client.plan.number} comes, ${client.plan.from}`)
      this.#reading.push(client.run())
    }
  }

  #publish(): void {
    this.#published++
    this.#upstream.publish()
  }

  async #hasFirstEvent(): Promise<void> {
    await eventually(
      () => this.#clients.some(({ steps, last }) => last || steps.some(({ what }) => what === 'event')),
      () => 'the first event',
    )
    this.hasFailedEarly = this.#clients.some(({ last }) => last)
  }

  /** Disturbs a machine that is not disturbed already. */
  #disturb(planned: PlannedFault): void {
    const machine = this.#machines[planned.machine]
    if (!machine || this.#disturbed.has(planned.machine)) return
    this.#disturbed.add(planned.machine)
    const disturb = async () => {
      this.trace(`machine ${planned.machine} is ${planned.fault} for ${planned.duration} ms at ${planned.at}`)
      await machine.begin(planned)
      await sleep(planned.duration)
      await machine.mend(planned)
      this.trace(`machine ${planned.machine} is no longer ${planned.fault}`)
      this.#disturbed.delete(planned.machine)
      if (this.#disturbed.size === 0) await this.#hasOneUpstream()
    }
    this.#tasks.push(disturb().catch((error: Error) => void this.faults.push(error.message)))
  }

  async #pause(duration: number): Promise<void> {
    this.trace(`Redis is suspended for ${duration} ms`)
    this.#redis.suspend()
    await sleep(duration)
    this.#redis.wake()
  }

  /** Cancels the stream at a machine, or at another one while that machine does not answer. */
  async #cancel(first: number): Promise<void> {
    for (let n = first; !(await this.#watch.isEnded()); n++) {
      const url = this.#machines[n % this.#machines.length]?.url
      const signal = AbortSignal.timeout(2000)
      const text = url && (await fetch(`${url}/cancel`, { signal }).then((answer) => answer.text(), String))
      this.trace(`machine ${n % this.#machines.length} cancels: ${text}`)
      if (text === undefined) await sleep(20)
    }
  }

  /** Waits until at most one machine has an upstream: an owner that is no longer disturbed finds out that it has lost the stream. */
  #hasOneUpstream(): Promise<void> {
    return eventually(
      () => this.#upstream.open.size <= 1 || this.#disturbed.size > 0,
      () => `one upstream of ${this.#upstream.open.size}`,
    )
  }

  /** Counts upstreams of two machines that are more than the order in which two sockets are read. */
  async #watchOverlap(): Promise<void> {
    const { open } = this.#upstream
    for (let turn = 0; turn < 100 && open.size > 1; turn++) await new Promise(setImmediate)
    if (open.size > 1) this.#overlaps++
    this.trace(
      `upstream: a request of machine ${this.#upstream.server.requests.at(-1)?.headers['x-machine']}; ${open.size} are open`,
    )
  }

  async #checkLives(): Promise<void> {
    for (const key of await this.#watch.immortals()) this.faults.push(`${key} has no time to live`)
  }
}
