import { type ChildProcess, fork, type Serializable } from 'node:child_process'
import { once } from 'node:events'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Arrived, ClientQuestion, OpenOptions } from './client.ts'
import type { KindName } from './relays/kinds.ts'
import type { UpstreamQuestion } from './upstream.ts'
import type { Plan, Transport } from './wire.ts'

/**
 * Node removes the types itself where it can, and keeps the result from one process to the next: a loader of TypeScript takes 15 to
 * 30 MB of each process, which the gateways of users, who run JavaScript, do not have.
 */
const loader = process.features.typescript ? [] : ['--import', 'tsx']
const cache = path.join(os.tmpdir(), 'resilient-sse-bench')

/** A process of the benchmarks; it ends when it is disposed of. */
class Program {
  readonly #name: string
  readonly #child: ChildProcess

  constructor(file: string, args: readonly string[] = [], execArgv: readonly string[] = []) {
    this.#name = [file, ...args].join(' ')
    this.#child = fork(fileURLToPath(new URL(file, import.meta.url)), args, {
      execArgv: [...loader, ...execArgv],
      env: { ...process.env, NODE_V8_COVERAGE: '', NODE_COMPILE_CACHE: cache },
    })
    this.#child.setMaxListeners(0)
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** The next thing that it says. */
  async heard<T>(): Promise<T> {
    const controller = new AbortController()
    const { signal } = controller
    try {
      const heard = once(this.#child, 'message', { signal })
      const ended = once(this.#child, 'exit', { signal }).then(([code]) => {
        throw new Error(`${this.#name} ended with code ${code}`)
      })
      const message: T = (await Promise.race([heard, ended]))[0]
      return message
    } finally {
      controller.abort()
    }
  }

  send(message: Serializable): void {
    if (!this.#child.connected) throw new Error(`${this.#name} has ended`)
    this.#child.send(message)
  }

  async ask<T>(question: (UpstreamQuestion | ClientQuestion) & Serializable): Promise<T> {
    this.send(question)
    const { answer, error } = await this.heard<{ answer: T; error?: string }>()
    if (error !== undefined) throw new Error(`${this.#name}: ${error}`)
    return answer
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    if (this.#child.connected) this.#child.disconnect()
    await exited
  }
}

/** What a relay process has used so far. */
export interface Usage {
  /** When, in milliseconds of a clock that all processes share. */
  readonly at: number
  readonly cpu: NodeJS.CpuUsage
  readonly memory: NodeJS.MemoryUsage
  /** The most resident memory that the process has had, in bytes. */
  readonly peak: number
}

export interface RelayOptions {
  /** Mebibytes that the process holds on its heap besides. */
  readonly heap: number
  /** What it speaks with its clients. */
  readonly protocol: Transport['client']
  /** The URL of a server of Redis, for kinds that use one. */
  readonly redis?: string | undefined
}

export class RelayProcess {
  readonly kind: KindName
  readonly #program: Program
  readonly #upstream: URL
  readonly #protocol: Transport['client']
  #port = 0

  private constructor(kind: KindName, upstream: URL, options: RelayOptions, execArgv: readonly string[]) {
    const { heap, protocol, redis = '' } = options
    this.kind = kind
    this.#upstream = upstream
    this.#protocol = protocol
    this.#program = new Program('./relay.ts', [kind, upstream.href, String(heap), protocol, redis], execArgv)
  }

  static async start(
    kind: KindName,
    upstream: URL,
    options: RelayOptions,
    execArgv: readonly string[] = [],
  ): Promise<RelayProcess> {
    const relay = new RelayProcess(kind, upstream, options, execArgv)
    relay.#port = (await relay.#program.heard<{ port: number }>()).port
    return relay
  }

  get url(): string {
    const scheme = this.#protocol === 'http' ? 'http' : 'https'
    return `${scheme}://127.0.0.1:${this.#port}${this.#upstream.pathname}`
  }

  get pid(): number | undefined {
    return this.#program.pid
  }

  /** @param collected - Whether garbage is collected first; the process must have been started with `--expose-gc`. */
  usage(collected = false): Promise<Usage> {
    return this.#ask({ usage: true, ...(collected && { gc: 'regular' }) })
  }

  /**
   * The memory of the process when V8 has collected what it can, and has returned the pages that are empty. The process must have been
   * started with `--expose-gc`.
   *
   * @param pause - Milliseconds between two collections: what the first one sets free, the second one takes away.
   */
  async settledMemory(pause: number): Promise<NodeJS.MemoryUsage> {
    await this.#ask({ usage: true, gc: 'last-resort' })
    await sleep(pause)
    return (await this.#ask({ usage: true, gc: 'last-resort' })).memory
  }

  async #ask(question: { readonly usage: true; readonly gc?: 'regular' | 'last-resort' }): Promise<Usage> {
    this.#program.send(question)
    return (await this.#program.heard<{ usage: Usage }>()).usage
  }

  stop(): Promise<void> {
    return this.#program.stop()
  }
}

export class UpstreamProcess {
  readonly url: URL
  readonly #program: Program

  private constructor(program: Program, url: URL) {
    this.#program = program
    this.url = url
  }

  static async start(protocol: Transport['upstream']): Promise<UpstreamProcess> {
    const program = new Program('./upstream.ts', [protocol])
    const { port } = await program.heard<{ port: number }>()
    return new UpstreamProcess(program, new URL(`${protocol}://127.0.0.1:${port}/events`))
  }

  plan(plan: Plan): Promise<void> {
    return this.#program.ask({ ask: 'plan', plan })
  }

  /**
   * Sends as the plan says: so many events on each stream, or, where the plan has a pace of its own, until `halt`; gives the
   * time.
   */
  go(count = 1): Promise<number> {
    return this.#program.ask({ ask: 'go', count })
  }

  /** Sends no more; gives the last id on each stream. */
  halt(): Promise<number[]> {
    return this.#program.ask({ ask: 'halt' })
  }

  streams(): Promise<number> {
    return this.#program.ask({ ask: 'streams' })
  }

  /** Ends all streams cleanly (`end`), resets them, stops listening as well (`leave`), listens again (`return`); gives the time. */
  does(what: 'end' | 'reset' | 'leave' | 'return'): Promise<number> {
    return this.#program.ask({ ask: what })
  }

  /** When it began to answer the latest request. */
  answeredAt(): Promise<number> {
    return this.#program.ask({ ask: 'answeredAt' })
  }

  stop(): Promise<void> {
    return this.#program.stop()
  }
}

export class ClientProcess {
  readonly #program: Program

  private constructor(program: Program) {
    this.#program = program
  }

  static async start(protocol: Transport['client']): Promise<ClientProcess> {
    const program = new Program('./client.ts', [protocol])
    await program.heard()
    return new ClientProcess(program)
  }

  /** Opens streams; each has its first event when this resolves, or its head where it is one of many on a feed. */
  open(options: OpenOptions): Promise<void> {
    return this.#program.ask({ ask: 'open', ...options })
  }

  /** Asks for JSON of so many bytes on so many connections, again and again for so long; gives the number of answers. */
  askForJson(question: {
    url: string
    bytes: number
    connections: number
    seconds: number
  }): Promise<number> {
    return this.#program.ask({ ask: 'json', ...question })
  }

  arrived(): Promise<Arrived> {
    return this.#program.ask({ ask: 'arrived' })
  }

  /** Waits for all that was sent; fails when it does not arrive, or something else does. */
  settle(sent: readonly number[], within = 60_000): Promise<void> {
    return this.#program.ask({ ask: 'settle', sent, within })
  }

  /** Waits until so many events have arrived in all since the streams were opened; it resolves without a delay. */
  count(events: number, within = 60_000): Promise<void> {
    return this.#program.ask({ ask: 'count', events, within })
  }

  /** Waits until each client has got the events of a feed up to the last one, and nothing else. */
  reach(last: number, within = 60_000): Promise<void> {
    return this.#program.ask({ ask: 'reach', last, within })
  }

  /** The id of the first event of the first client. */
  firstId(): Promise<string | undefined> {
    return this.#program.ask({ ask: 'firstId' })
  }

  /** Waits until all streams have ended. */
  ended(): Promise<void> {
    return this.#program.ask({ ask: 'ended' })
  }

  /** From here on each stream's next event is waited for. */
  mark(): Promise<void> {
    return this.#program.ask({ ask: 'mark' })
  }

  /** How long each event since the latest mark has taken, in milliseconds, in order of arrival; where events hold their time. */
  latencies(): Promise<number[]> {
    return this.#program.ask({ ask: 'latencies' })
  }

  /** When each stream got its next event, null where it got none. */
  nextArrivals(within: number): Promise<(number | null)[]> {
    return this.#program.ask({ ask: 'nextArrivals', within })
  }

  close(): Promise<void> {
    return this.#program.ask({ ask: 'close' })
  }

  stop(): Promise<void> {
    return this.#program.stop()
  }
}
