import { ClientProcess, RelayProcess, UpstreamProcess } from './processes.ts'
import { isHere, type KindName } from './relays/kinds.ts'
import { plainText, type Transport } from './wire.ts'

/** How much is measured. */
export interface Extent {
  /** Numbers that are too small for figures to mean anything: to see that everything works. */
  readonly quick: boolean
  readonly rounds: number
  /** Seconds of each measurement. */
  readonly seconds: number
  /** Mebibytes that each relay process holds on its heap besides. */
  readonly heap: number
  /** Only these kinds, where given. */
  readonly only: readonly KindName[] | undefined
}

/** The processes that a workload needs: an upstream, a client, and relays in between. */
export class Bench implements AsyncDisposable {
  readonly upstream: UpstreamProcess
  readonly client: ClientProcess
  readonly extent: Extent
  readonly transport: Transport
  readonly #relays = new Map<KindName, RelayProcess>()
  /** Those that were started and not stopped. */
  readonly #started = new Set<RelayProcess>()

  private constructor(
    upstream: UpstreamProcess,
    client: ClientProcess,
    extent: Extent,
    transport: Transport,
  ) {
    this.upstream = upstream
    this.client = client
    this.extent = extent
    this.transport = transport
  }

  static async start(extent: Extent, transport = plainText): Promise<Bench> {
    const [upstream, client] = await Promise.all([
      UpstreamProcess.start(transport.upstream),
      ClientProcess.start(transport.client),
    ])
    return new Bench(upstream, client, extent, transport)
  }

  /** Those of the kinds that were asked for and that this machine has. */
  chosen(kinds: readonly KindName[]): KindName[] {
    const { only } = this.extent
    return kinds.filter((kind) => (only === undefined || only.includes(kind)) && isHere(kind))
  }

  /** Starts several relay processes at once. */
  async prepare(kinds: readonly KindName[]): Promise<void> {
    await Promise.all(kinds.map((kind) => this.relay(kind)))
  }

  /** The one relay process of a kind, started when it is first asked for. */
  async relay(kind: KindName): Promise<RelayProcess> {
    const relay = this.#relays.get(kind) ?? (await this.start(kind, ['--expose-gc']))
    this.#relays.set(kind, relay)
    return relay
  }

  /** A full collection in each relay process that is used for several measurements. */
  async collect(): Promise<void> {
    for (const relay of this.#relays.values()) await relay.usage(true)
  }

  /** A relay process of its own, which `release` ends; a smoke run has no time for that. */
  freshRelay(kind: KindName, execArgv: readonly string[] = []): Promise<RelayProcess> {
    return this.extent.quick ? this.relay(kind) : this.start(kind, ['--expose-gc', ...execArgv])
  }

  async release(relay: RelayProcess): Promise<void> {
    if (this.#relays.get(relay.kind) === relay) return
    this.#started.delete(relay)
    await relay.stop()
  }

  async start(kind: KindName, execArgv: readonly string[]): Promise<RelayProcess> {
    const options = { heap: this.extent.heap, protocol: this.transport.client }
    const relay = await RelayProcess.start(kind, this.upstream.url, options, execArgv)
    this.#started.add(relay)
    return relay
  }

  /** Closes the client's streams; nothing of them is left at the upstream then. */
  async close(kind?: KindName): Promise<void> {
    await this.client.close()
    // HAProxy notices a client's end when it has something to send.
    if (kind === 'haproxy') await this.upstream.does('reset')
    const end = performance.now() + 20_000
    while ((await this.upstream.streams()) > 0) {
      if (performance.now() > end) throw new Error('the relay holds on to upstreams whose clients have left')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const programs = [...this.#started, this.client, this.upstream]
    await Promise.all(programs.map((program) => program.stop()))
  }
}
