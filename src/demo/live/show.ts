import { randomBytes } from 'node:crypto'
import { type Fault, faults, type SessionStatus, type Status } from '../messages.ts'
import { Audience } from './audience.ts'
import { FeedUpstream } from './feed-upstream.ts'
import type { GatewayProcess } from './gateway-child.ts'
import { type FromGateway, feed } from './gateway-messages.ts'
import { Gateways } from './gateways.ts'
import type { Guard } from './guard.ts'
import { Model } from './model.ts'
import { type Pipe, startPipe } from './pipe.ts'

/** What a POST does. Resolves with the name of what was made, if anything was; undefined when nothing can be done now. */
export type Action = () => Promise<string | undefined> | string | undefined

/** The latest sessions, whose figures are sent to the page. */
const mostSessions = 8

const faultNotes: Readonly<Record<Fault, string>> = {
  kill: 'Upstream killed. It is back in 2 s, and its log has survived',
  cut: 'Upstream connections cut in the middle of an event',
  silence: 'Upstream silent on its open connections',
  unavailable: 'Upstream responses ended, and 503 for 2 s',
  restart: 'Upstream restarts. Its log is lost, and its ids count from 1',
  end: 'Upstream responses ended, as at a deploy',
}

const releaseNotes: Readonly<Record<string, string>> = {
  end: 'has the whole answer',
  'not-resumable':
    'has found the answer without its owner. The model is not asked again: the answer has failed',
}

/** The upstream, the two gateway processes, the pipe and the model, and what the page's buttons do to them. */
export class Show {
  readonly audience = new Audience(() => this.#status())
  /** What the page can ask for, by the path of the request. */
  readonly actions: ReadonlyMap<string, Action>
  readonly #upstream = new FeedUpstream({
    onPublished: (published) => this.audience.tell('published', published),
    onChange: () => this.audience.update(),
  })
  readonly #model = new Model(() => this.audience.update())
  readonly #guard: Guard
  readonly #gateways: Gateways
  readonly #sessions: string[] = []
  #pipe: Pipe | undefined
  #reconnects = 0
  #repeats = 0
  #latestNote = ''

  /** @param program - The file of this program, which the gateway processes run too. */
  constructor(guard: Guard, program: string) {
    this.#guard = guard
    this.#gateways = new Gateways({
      program,
      pagePort: guard.pagePort,
      onReport: (gateway, report) => {
        this.#note(gateway, report)
        this.audience.update()
      },
      onLife: ({ name, pid }, isUp) => {
        this.#say(isUp ? `${name} runs again, as process ${pid}` : `${name} has ended without a word`)
        this.audience.update()
      },
    })
    this.actions = new Map<string, Action>([
      ...faults.map((fault): [string, Action] => [`/upstream/${fault}`, () => this.#break(fault)]),
      ['/sessions', () => this.#ask()],
      ['/sessions/owner/kill', () => this.#killOwner()],
    ])
  }

  /** The addresses of the servers that the page connects to. */
  get origins(): readonly string[] {
    const { gateway, pipe } = this.#addresses
    return [gateway, pipe].map((url) => new URL(url).origin)
  }

  async start(): Promise<void> {
    await this.#upstream.start()
    await this.#model.start()
    this.#pipe = await startPipe(this.#upstream.url, this.#guard, () => this.audience.update())
    await this.#gateways.start(this.#upstream.url)
  }

  async close(): Promise<void> {
    this.audience.close()
    await this.#gateways.close()
    await this.#pipe?.close()
    await this.#model.close()
    await this.#upstream.close()
  }

  get #addresses(): Status['addresses'] {
    const origin = `http://127.0.0.1:${this.#gateways.reading.port}`
    return { gateway: `${origin}/events`, sessions: `${origin}/sessions/`, pipe: this.#pipe?.url ?? '' }
  }

  #status(): Status {
    const gateways = this.#gateways.all
    return {
      addresses: this.#addresses,
      upstream: this.#upstream.state,
      connections: this.#upstream.connections,
      gateways: gateways.map(({ name, pid, owned }) => ({ name, pid, isOwner: owned.has(feed) })),
      pages: {
        gateway: gateways.reduce((sum, { clients }) => sum + clients, 0),
        pipe: this.#pipe?.clients ?? 0,
      },
      isConnected: gateways.some(({ isConnected }) => isConnected),
      reconnects: this.#reconnects,
      repeats: this.#repeats,
      sessions: this.#sessions.map(
        (name): SessionStatus => ({
          name,
          owner: this.#ownerOf(name)?.name,
          ...this.#model.progressOf(name),
        }),
      ),
    }
  }

  #break(fault: Fault): string | undefined {
    if (!this.#upstream.break(fault)) return undefined
    this.#say(faultNotes[fault], true)
    return ''
  }

  async #ask(): Promise<string> {
    const name = randomBytes(8).toString('hex')
    this.#sessions.push(name)
    if (this.#sessions.length > mostSessions) this.#sessions.shift()
    const gateway = await this.#gateways.ask(name, this.#model.urlOf(name))
    this.#say(`${gateway} has asked the model, and reads the answer`)
    return name
  }

  /** Kills the process that reads the latest answer. Not possible when the answer is complete. */
  #killOwner(): string | undefined {
    const owner = this.#ownerOf(this.#sessions.at(-1) ?? '')
    if (owner === undefined) return undefined
    this.#say(`${owner.name}, process ${owner.pid}, was killed (SIGKILL)`, true)
    owner.kill()
    return owner.name
  }

  #ownerOf(stream: string): GatewayProcess | undefined {
    return this.#gateways.all.find(({ owned }) => owned.has(stream))
  }

  #note({ name }: GatewayProcess, report: FromGateway): void {
    switch (report.kind) {
      case 'owner':
        if (report.stream === feed && report.isTakeOver) this.#say(`${name} takes the shared stream over`)
        break
      case 'released': {
        const note = report.stream === feed ? undefined : releaseNotes[report.reason]
        if (note !== undefined) this.#say(`${name} ${note}`)
        break
      }
      case 'drop':
        this.#say(`${name} has lost the upstream (${report.reason})`)
        break
      case 'retry':
        this.#say(`${name} connects again in ${(report.delay / 1000).toFixed(1)} s`)
        break
      case 'open':
        if (!report.isFirst) this.#reconnects++
        if (!report.isFirst) this.#say(`${name} is connected again`)
        break
      case 'repeat':
        this.#repeats++
    }
  }

  #say(text: string, isFault = false): void {
    // Each attempt of an outage says the same.
    if (text === this.#latestNote) return
    this.#latestNote = isFault ? '' : text
    this.audience.tell('note', { at: Date.now(), text, isFault })
  }
}
