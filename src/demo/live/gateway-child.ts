import { type ChildProcess, fork } from 'node:child_process'
import { ProcessChannel } from './channel.ts'
import { type FromGateway, feed, type ToGateway } from './gateway-messages.ts'

/** The argument of the demonstration in a gateway process. */
export const gatewayArgument = 'gateway'

/** The demonstration's end of the channel to a gateway process. */
export type Channel = ProcessChannel<ToGateway, FromGateway>

export interface GatewayProcessOptions {
  /** The file of this program. */
  readonly program: string
  /** The port of the page, which may read what the process serves. */
  readonly pagePort: number
  /** Whether the process opens the shared stream before a client asks for it. */
  readonly opensFeed: boolean
  /** Serves the store to the process; returns a function that is called at the end of the process. */
  readonly serve: (channel: Channel) => () => void
  readonly onReport: (gateway: GatewayProcess, report: FromGateway) => void
  /** The process has ended without being told to, or a new one has taken its place. */
  readonly onLife: (gateway: GatewayProcess, isUp: boolean) => void
}

/** A process that runs a hub. Whenever it ends, a new one takes its place on the same port. */
export class GatewayProcess {
  readonly name: string
  /** The names of the streams whose upstream the process has. */
  readonly owned = new Set<string>()
  /** The clients of the shared stream. */
  clients = 0
  /** Whether the process is connected to the upstream of the shared stream. */
  isConnected = false
  /** 0 until the process serves. */
  port = 0
  readonly #options: GatewayProcessOptions
  #feedUrl = ''
  #child: ChildProcess | undefined
  #channel: Channel | undefined
  #isServing = false
  #isClosing = false
  readonly #waiting = new Set<(error?: Error) => void>()
  /** The callers that wait for the start of a session, by its name. */
  readonly #asked = new Map<string, (error?: Error) => void>()

  constructor(name: string, options: GatewayProcessOptions) {
    this.name = name
    this.#options = options
  }

  /** Undefined while the process starts. */
  get pid(): number | undefined {
    return this.#isServing ? this.#child?.pid : undefined
  }

  /** @throws When the process ends before it serves. */
  async start(feedUrl: string): Promise<void> {
    this.#feedUrl = feedUrl
    this.#fork()
    await this.#served()
  }

  /**
   * Asks the model for an answer, as soon as the process serves. Resolves when the session exists: whoever reads a session that does
   * not exist is answered 404, at which an EventSource gives up.
   *
   * @throws When the process ends before.
   */
  async ask(session: string, url: string): Promise<void> {
    await this.#served()
    await new Promise<void>((resolve, reject) => {
      this.#asked.set(session, (error) => (error ? reject(error) : resolve()))
      this.#channel?.send({ kind: 'ask', session, url })
    })
  }

  /** Ends the process as the failure of its machine would. */
  kill(): void {
    this.#child?.kill('SIGKILL')
  }

  async close(): Promise<void> {
    this.#isClosing = true
    const child = this.#child
    if (child === undefined) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    this.#channel?.send({ kind: 'close' })
    await ended
  }

  async #served(): Promise<void> {
    if (this.#isServing) return
    await new Promise<void>((resolve, reject) => {
      this.#waiting.add((error) => (error ? reject(error) : resolve()))
    })
  }

  #fork(): void {
    const { program, pagePort, opensFeed, serve } = this.#options
    // This program again, and no file of its own: where the program is a bundle, there would be no such file.
    const child = fork(program, ['demo', gatewayArgument], { serialization: 'advanced' })
    const channel: Channel = new ProcessChannel(child, (report) => this.#note(report))
    const forget = serve(channel)
    this.#child = child
    this.#channel = channel
    child.on('exit', () => {
      forget()
      this.#onExit()
    })
    channel.send({ kind: 'serve', feedUrl: this.#feedUrl, pagePort, port: this.port, opensFeed })
  }

  #onExit(): void {
    const wasServing = this.#isServing
    this.#child = undefined
    this.#channel = undefined
    this.#isServing = false
    this.isConnected = false
    this.clients = 0
    this.owned.clear()
    for (const settle of this.#asked.values()) settle(new Error(`${this.name} has ended`))
    this.#asked.clear()
    if (this.#isClosing) return
    this.#options.onLife(this, false)
    // A process that cannot start would be started for ever.
    if (wasServing) this.#fork()
    else this.#settle(new Error(`${this.name} has ended at its start`))
  }

  #note(report: FromGateway): void {
    switch (report.kind) {
      case 'serving':
        this.#onServing(report.port)
        break
      case 'asked':
        this.#asked.get(report.session)?.()
        this.#asked.delete(report.session)
        break
      case 'owner':
        this.owned.add(report.stream)
        break
      case 'released':
        this.owned.delete(report.stream)
        if (report.stream === feed) this.isConnected = false
        break
      case 'open':
        this.isConnected = true
        break
      case 'drop':
        this.isConnected = false
        break
      case 'clients':
        this.clients = report.count
    }
    this.#options.onReport(this, report)
  }

  #onServing(port: number): void {
    const isAgain = this.port !== 0
    this.port = port
    this.#isServing = true
    this.#settle()
    if (isAgain) this.#options.onLife(this, true)
  }

  #settle(error?: Error): void {
    for (const settle of this.#waiting) settle(error)
    this.#waiting.clear()
  }
}
