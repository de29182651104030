import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Ending, endWith } from '../ending.ts'
import { FlickeringServer } from '../flickering-server.ts'
import type { Fault, Published, UpstreamState } from '../messages.ts'

/** Milliseconds between two events. */
const interval = 200
/** How long the upstream is away, in milliseconds. */
const away = { killed: 2000, unavailable: 2000, restarting: 1000 } as const
/** The events that are kept for readers that resume: those of 10 minutes. */
const mostEvents = 3000
/** A reader that resumes gets this many events again, as from a server that would rather repeat an event than lose it. */
const repeats = 3

/** Who reads: the gateways, or the bare pipe. */
type Reader = 'gateway' | 'pipe'

interface Connection {
  readonly response: ServerResponse
  readonly reader: Reader
  isSilent: boolean
}

export interface FeedUpstreamOptions {
  readonly onPublished: (published: Published) => void
  readonly onChange: () => void
}

/**
 * An event stream on a free port that publishes five events per second, resumes from `Last-Event-ID`, and can be broken in
 * several ways. The path `/events?reader=pipe` is the bare pipe's.
 */
export class FeedUpstream {
  readonly #server = new FlickeringServer((request, response) => this.#answer(request, response))
  readonly #options: FeedUpstreamOptions
  readonly #connections = new Set<Connection>()
  #events: Buffer[] = []
  /** The id of the oldest event that is kept. */
  #first = 1
  #serial = 0
  #state: UpstreamState = 'up'
  #publishing: NodeJS.Timeout | undefined
  #return: NodeJS.Timeout | undefined

  constructor(options: FeedUpstreamOptions) {
    this.#options = options
  }

  get url(): string {
    return this.#server.url
  }

  get state(): UpstreamState {
    return this.#state
  }

  get connections(): Record<Reader, number> {
    const counts = { gateway: 0, pipe: 0 }
    for (const { reader } of this.#connections) counts[reader]++
    return counts
  }

  async start(): Promise<void> {
    await this.#server.open()
    this.#publishing = setInterval(() => this.#tick(), interval)
  }

  async close(): Promise<void> {
    clearInterval(this.#publishing)
    clearTimeout(this.#return)
    await this.#server.close()
  }

  /** @returns False when the upstream is not up, and nothing was broken. */
  break(fault: Fault): boolean {
    if (this.#state !== 'up') return false
    switch (fault) {
      case 'kill':
        this.#leave('killed')
        this.#server.leave()
        break
      case 'unavailable':
        this.#leave('unavailable')
        this.#endAll({ how: 'end' })
        break
      case 'end':
        this.#endAll({ how: 'end' })
        break
      case 'cut':
        this.#cut()
        break
      case 'silence':
        for (const connection of this.#connections) connection.isSilent = true
        break
      case 'restart':
        this.#state = 'restart due'
        this.#restart()
    }
    this.#options.onChange()
    return true
  }

  #tick(): void {
    // A process that is not there publishes nothing. The other faults leave the process, or the database behind it, alone.
    if (this.#state === 'restarting') return
    const bytes = this.#publish()
    for (const { response, isSilent } of this.#connections) if (!isSilent) response.write(bytes)
    this.#restart()
  }

  #publish(): Buffer {
    const published = { serial: ++this.#serial, at: Date.now() }
    const id = this.#first + this.#events.length
    const bytes = Buffer.from(`id: ${id}\ndata: ${JSON.stringify(published)}\n\n`)
    this.#events.push(bytes)
    if (this.#events.length > mostEvents) {
      this.#events.shift()
      this.#first++
    }
    this.#options.onPublished(published)
    return bytes
  }

  /** Publishes an event of which the readers get one half. */
  #cut(): void {
    const bytes = this.#publish()
    this.#endAll({ how: 'close', part: bytes.subarray(0, bytes.length / 2) })
  }

  /**
   * Restarts the process when it is due: the events are forgotten, and the ids count from 1. The restart waits for the gateway,
   * because no gateway can deliver an event that the upstream has forgotten before the gateway was connected.
   */
  #restart(): void {
    const isGatewayHere = [...this.#connections].some(
      ({ reader, isSilent }) => reader === 'gateway' && !isSilent,
    )
    if (this.#state !== 'restart due' || !isGatewayHere) return
    this.#leave('restarting')
    this.#endAll({ how: 'close' })
    this.#events = []
    this.#first = 1
    this.#options.onChange()
  }

  /** @param state - How the upstream fails until it is started again. */
  #leave(state: keyof typeof away): void {
    this.#state = state
    this.#return = setTimeout(() => {
      this.#state = 'up'
      this.#server.comeBack()
      this.#options.onChange()
    }, away[state])
  }

  #endAll(ending: Ending): void {
    const connections = [...this.#connections]
    this.#connections.clear()
    for (const { response } of connections) void endWith(response, ending)
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    if (this.#state === 'unavailable' || this.#state === 'restarting') {
      response.writeHead(503, { 'retry-after': '1', 'content-type': 'text/plain' }).end('not yet\n')
      return
    }
    const reader = request.url?.endsWith('reader=pipe') ? 'pipe' : 'gateway'
    const connection: Connection = { response, reader, isSilent: false }
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
    // A short reconnection time, so that an EventSource behind the pipe also returns soon where it returns at all.
    response.write('retry: 500\n\n')
    for (const bytes of this.#eventsAfter(request.headers['last-event-id'])) response.write(bytes)
    this.#connections.add(connection)
    this.#options.onChange()
    response.on('error', () => {})
    response.on('close', () => {
      this.#connections.delete(connection)
      this.#options.onChange()
    })
  }

  #eventsAfter(lastEventId: string | string[] | undefined): readonly Buffer[] {
    if (lastEventId === undefined) return []
    // The index of the event that follows. An id from before a restart is unknown: the reader gets everything.
    const next = Number(lastEventId) + 1 - this.#first
    const isKnown = next >= 0 && next <= this.#events.length
    return this.#events.slice(isKnown ? Math.max(0, next - repeats) : 0)
  }
}
