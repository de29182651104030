import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from './bench-context.ts'
import type { RelayProcess } from './processes.ts'
import { dataSizeOf, type Plan } from './wire.ts'

/**
 * Events of one upstream for all clients of a relay. The next events are sent when those before have arrived everywhere: a relay
 * that cannot keep up would otherwise pass on several events at a time, and look cheap.
 */
export class FeedTraffic {
  readonly #bench: Bench
  /** How many events are one write. */
  readonly #batch: number
  /** The least time between two writes, in milliseconds. */
  readonly #every: number
  /** The number of the latest event. */
  #last = 0

  private constructor(bench: Bench, batch: number, every: number) {
    this.#bench = bench
    this.#batch = batch
    this.#every = every
  }

  static async open(bench: Bench, relay: RelayProcess, plan: Plan, clients: number): Promise<FeedTraffic> {
    const { upstream, client } = bench
    const { pace, eventSize } = plan
    const batch = typeof pace === 'object' && 'writeSize' in pace ? Math.floor(pace.writeSize / eventSize) : 1
    const every = typeof pace === 'object' && 'every' in pace ? pace.every : 0
    await upstream.plan({ ...plan, pace: 'quiet' })
    const traffic = new FeedTraffic(bench, batch, every)
    await client.open({ url: relay.url, streams: clients, eventSize, feed: { dataSize: dataSizeOf(plan) } })
    while ((await upstream.streams()) === 0) await sleep(5)
    traffic.#last = (await upstream.halt())[0] ?? 0
    return traffic
  }

  /** Until the relay's code is compiled. */
  warmUp(): Promise<void> {
    return this.send(1)
  }

  /** Sends for at least so long. All of it has arrived, exactly once, when this resolves. */
  async send(seconds: number): Promise<void> {
    const end = performance.now() + seconds * 1000
    do {
      const due = performance.now() + this.#every
      await this.write()
      await sleep(Math.max(0, due - performance.now()))
    } while (performance.now() < end)
  }

  /**
   * Sends once. It has arrived everywhere when this resolves.
   *
   * @param events - Default: as the plan says.
   * @returns When it was sent, in milliseconds of the clock that all processes share.
   */
  async write(events = this.#batch): Promise<number> {
    const { upstream, client } = this.#bench
    this.#last += events
    const sentAt = await upstream.go(events)
    await client.reach(this.#last)
    return sentAt
  }

  /** The number of the latest event. */
  get last(): number {
    return this.#last
  }
}
