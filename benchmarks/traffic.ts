import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from './bench-context.ts'
import type { RelayProcess } from './processes.ts'
import type { Plan } from './wire.ts'

/** A warm-up that took less than this many seconds is repeated with more events. */
const longEnough = 0.1

/** Events on all streams of one relay, sent until they have all arrived. */
export class Traffic {
  readonly #bench: Bench
  readonly #plan: Plan
  readonly #streams: number
  /** The id of the latest event on each stream. */
  #last = 1
  /** How many events a second there are on each stream, when they go as fast as the relay lets them. */
  #rate = 0

  private constructor(bench: Bench, plan: Plan, streams: number) {
    this.#bench = bench
    this.#plan = plan
    this.#streams = streams
  }

  static async open(bench: Bench, relay: RelayProcess, plan: Plan, streams: number): Promise<Traffic> {
    await bench.upstream.plan(plan)
    await bench.client.open({ url: relay.url, streams, eventSize: plan.eventSize })
    return new Traffic(bench, plan, streams)
  }

  /** Sends for a while, at least; how fast that went decides how much is sent next. */
  async warmUp(): Promise<void> {
    const { eventSize, pace } = this.#plan
    if (pace === 'in step') return this.#sendInStep(longEnough)
    if (pace === 'quiet' || 'every' in pace) return this.#sendFor(longEnough)
    // From four writes on each stream on: there are relays that take seconds for more.
    let count = 4 * Math.max(1, Math.floor(pace.writeSize / eventSize))
    let seconds = await this.#sendCount(count)
    while (seconds < longEnough && !this.#bench.extent.quick) {
      count *= 4
      seconds = await this.#sendCount(count)
    }
    this.#rate = count / seconds
  }

  /** Sends for about so long. All of it has arrived, exactly once, when this resolves. */
  async send(seconds: number): Promise<void> {
    if (this.#plan.pace === 'in step') await this.#sendInStep(seconds)
    else if (this.#rate === 0) await this.#sendFor(seconds)
    else await this.#sendCount(Math.ceil(this.#rate * seconds))
  }

  async #sendFor(seconds: number): Promise<void> {
    const { upstream, client } = this.#bench
    await upstream.go()
    await sleep(seconds * 1000)
    await client.settle(await upstream.halt())
  }

  async #sendInStep(seconds: number): Promise<void> {
    const { upstream, client } = this.#bench
    const end = performance.now() + seconds * 1000
    do {
      this.#last++
      await upstream.go()
      await client.count(this.#last * this.#streams)
    } while (performance.now() < end)
    await client.settle(new Array<number>(this.#streams).fill(this.#last))
  }

  async #sendCount(count: number): Promise<number> {
    const { upstream, client } = this.#bench
    const start = performance.now()
    this.#last += count
    await upstream.go(count)
    await client.settle(new Array<number>(this.#streams).fill(this.#last))
    return (performance.now() - start) / 1000
  }
}
