import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { RedisServer } from '../../support/redis.ts'
import { type RedisProxy, redisProxy } from '../../support/redis-proxy.ts'
import { eventually } from '../fleet.ts'
import { lease, type Plan, type PlannedFault, storeTimeout } from './plan.ts'

const script = fileURLToPath(new URL('machine.ts', import.meta.url))

/** The most milliseconds in which a process must carry out a command: long enough for a busy machine. */
const patience = 120_000

/** A port at which no server listens. */
const nowhere = 1

/** A process that opens hubs. */
class Process {
  readonly child: ChildProcess
  /** What the process has said, oldest first. */
  readonly said: string[] = []

  constructor() {
    const env = { ...process.env, NODE_V8_COVERAGE: '' }
    this.child = fork(script, { execArgv: ['--import', 'tsx'], env })
    this.child.on('message', (text) => this.said.push(String(text)))
    // A process that was killed meanwhile hears nothing.
    this.child.on('error', () => {})
  }

  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  send(settings: Readonly<Record<string, string | number>>): void {
    const text = new URLSearchParams()
    for (const [name, value] of Object.entries(settings)) text.set(name, String(value))
    this.child.send(text.toString(), () => {})
  }

  /** Waits until the process says something that starts with a word, and returns the rest. Undefined: it was killed. */
  async hear(word: string, from = 0): Promise<string | undefined> {
    const find = () => this.said.slice(from).find((text) => text.startsWith(word))
    await eventually(
      () => find() !== undefined || !this.isAlive,
      () => `a process says ${word} after ${this.said.join('; ')}`,
      patience,
    )
    return find()?.slice(word.length + 1)
  }

  async kill(): Promise<void> {
    if (!this.isAlive) return
    const exited = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exited
  }
}

/** Processes that have started and run no hub: to start one takes as long as a run. */
export class Pool implements AsyncDisposable {
  readonly #idle: Process[] = []

  async take(): Promise<Process> {
    const idle = this.#idle.pop()
    if (idle) return idle
    const fresh = new Process()
    if ((await fresh.hear('started')) === undefined) throw new Error('a process of the model does not start')
    return fresh
  }

  put(idle: Process): void {
    if (!idle.isAlive) return
    idle.said.length = 0
    this.#idle.push(idle)
  }

  async [Symbol.asyncDispose]() {
    await Promise.all(this.#idle.map((each) => each.kill()))
  }
}

/** A place in the fleet: a process with a hub, and its network to Redis. */
export class Machine {
  readonly number: number
  /** What a hub did that it must not do. */
  readonly faults: string[] = []
  readonly proxy: RedisProxy
  readonly #plan: Plan
  readonly #upstream: string
  readonly #redis: RedisServer
  readonly #pool: Pool
  #process: Process | undefined
  #url: string | undefined

  private constructor(
    number: number,
    plan: Plan,
    upstream: string,
    redis: RedisServer,
    proxy: RedisProxy,
    pool: Pool,
  ) {
    this.number = number
    this.#plan = plan
    this.#upstream = upstream
    this.#redis = redis
    this.proxy = proxy
    this.#pool = pool
  }

  static async start(
    n: number,
    plan: Plan,
    upstream: string,
    redis: RedisServer,
    pool: Pool,
  ): Promise<Machine> {
    const machine = new Machine(n, plan, upstream, redis, await redisProxy(redis.port), pool)
    await machine.open()
    return machine
  }

  /** Undefined while no hub is open. */
  get url(): string | undefined {
    return this.#url
  }

  /** Opens a hub, in another process where the former one was killed. */
  async open(): Promise<void> {
    const { linger, windowBytes, kind, packages } = this.#plan
    const own = this.#process ?? (await this.#pool.take())
    this.#process = own
    const from = own.said.length
    own.send({
      redis: this.proxy.url,
      package: packages[this.number] ?? 'redis',
      upstream: this.#upstream,
      machine: this.number,
      kind,
      linger,
      windowBytes,
      lease,
      storeTimeout,
    })
    const port = await own.hear('port', from)
    this.#url = port && `http://127.0.0.1:${port}`
  }

  /** Closes the hub; nothing of it may be left in its process. */
  async close(drain: number): Promise<void> {
    const own = this.#process
    if (!own) return
    this.#url = undefined
    const from = own.said.length
    own.send({ close: drain })
    const left = await own.hear('closed', from)
    if (left !== '')
      this.faults.push(`machine ${this.number}: a closed hub has left ${left ?? 'nothing, but has crashed'}`)
  }

  /** Ends the machine, and gives its process back. */
  async end(): Promise<void> {
    await this.close(0)
    this.#leave()
    await this.proxy[Symbol.asyncDispose]()
  }

  /** Lets a fault begin. */
  async begin({ fault, duration }: PlannedFault): Promise<void> {
    const { proxy } = this
    if (fault === 'killed') await this.#kill()
    if (fault === 'closed') await this.close(Math.min(duration, 300))
    if (fault === 'suspended') this.#process?.child.kill('SIGSTOP')
    if (fault === 'cut off') proxy.target = nowhere
    if (fault === 'mute') proxy.swallowsReplies = true
    if (fault === 'deaf') proxy.swallowsWakes = true
    if (fault === 'slow') proxy.delay = Math.min(duration, 40)
    if (fault === 'cut off' || fault === 'reset') proxy.cut()
  }

  /** Mends what a fault has done. */
  async mend({ fault }: PlannedFault): Promise<void> {
    const { proxy } = this
    if (fault === 'killed' || fault === 'closed') await this.open()
    if (fault === 'suspended') this.#process?.child.kill('SIGCONT')
    proxy.target = this.#redis.port
    proxy.swallowsReplies = false
    proxy.swallowsWakes = false
    proxy.delay = 0
    if (fault === 'mute') proxy.cut()
  }

  async #kill(): Promise<void> {
    await this.#process?.kill()
    this.#leave()
  }

  #leave(): void {
    const own = this.#process
    this.#process = undefined
    this.#url = undefined
    if (!own) return
    for (const text of own.said)
      if (text.startsWith('fault')) this.faults.push(`machine ${this.number}: ${text}`)
    this.#pool.put(own)
  }
}
