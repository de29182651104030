import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from './bench-context.ts'
import { ClientProcess, RelayProcess } from './processes.ts'
import { RedisProcess } from './redis-process.ts'
import { type KindName, kinds } from './relays/kinds.ts'
import { dataSizeOf, type Plan } from './wire.ts'

/** A process that serves streams, and the process of its clients. */
export interface Gateway {
  readonly relay: RelayProcess
  readonly client: ClientProcess
}

/**
 * Processes that serve the same streams: one that has the upstreams, and one that follows; each has clients in a process of their
 * own. A kind that keeps its streams in the memory of its process has the first of them only, and no Redis.
 */
export class Fleet implements AsyncDisposable {
  readonly owner: Gateway
  readonly follower: Gateway | undefined
  readonly redis: RedisProcess | undefined
  readonly #bench: Bench

  private constructor(
    bench: Bench,
    owner: Gateway,
    follower: Gateway | undefined,
    redis: RedisProcess | undefined,
  ) {
    this.#bench = bench
    this.owner = owner
    this.follower = follower
    this.redis = redis
  }

  /** @param heap - The mebibytes on the heap of each process besides. */
  static async start(
    bench: Bench,
    kind: KindName,
    execArgv: readonly string[] = [],
    heap = bench.extent.heap,
  ): Promise<Fleet> {
    const { upstream, client, transport } = bench
    const redis = kinds[kind].family === 'fleet' ? await RedisProcess.start() : undefined
    const options = { heap, protocol: transport.client, redis: redis?.url }
    const start = () => RelayProcess.start(kind, upstream.url, options, ['--expose-gc', ...execArgv])
    const owner = { relay: await start(), client }
    const follower = redis && { relay: await start(), client: await ClientProcess.start(transport.client) }
    return new Fleet(bench, owner, follower, redis)
  }

  /** Opens so many streams at the owner, and each of them again at the follower. Each has a first event then. */
  async open(plan: Plan, streams: number): Promise<void> {
    await this.#bench.upstream.plan(plan)
    await this.openAt(this.owner, plan, streams)
    if (this.follower) await this.openAt(this.follower, plan, streams)
  }

  /** @param firstPath - The number of the first stream. */
  async openAt({ relay, client }: Gateway, plan: Plan, streams: number, firstPath = 0): Promise<void> {
    const { eventSize, stamped = false } = plan
    // A relay that keeps no events has none for the clients of the follower.
    const openWithHead = relay === this.follower?.relay
    const feed = { dataSize: dataSizeOf(plan), ownPath: 'stream', firstPath, stamped, openWithHead }
    await client.open({ url: relay.url, streams, eventSize, feed })
  }

  get gateways(): Gateway[] {
    return this.follower ? [this.owner, this.follower] : [this.owner]
  }

  /** Sends no more, and waits until every event has arrived once at each client. */
  async settle(): Promise<void> {
    const sent = await this.#bench.upstream.halt()
    for (const { client } of this.gateways) await client.settle(sent)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { upstream } = this.#bench
    for (const { client } of this.gateways) await client.close()
    for (const { relay } of this.gateways) await relay.stop()
    await this.follower?.client.stop()
    await this.redis?.[Symbol.asyncDispose]()
    while ((await upstream.streams()) > 0) await sleep(5)
  }
}
