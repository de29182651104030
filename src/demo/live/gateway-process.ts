import diagnosticsChannel from 'node:diagnostics_channel'
import http from 'node:http'
import type { Messages } from '../../diagnostics.ts'
import { createSseHub, type SseHub } from '../../hub/hub.ts'
import type { SharedStreamOptions } from '../../hub/options.ts'
import { httpUpstream } from '../../upstream/http-upstream.ts'
import { listen } from '../listen.ts'
import { type End, ProcessChannel } from './channel.ts'
import { type FromGateway, feed, type ToGateway } from './gateway-messages.ts'
import { Guard } from './guard.ts'
import { remoteStore } from './store-link.ts'

/** In milliseconds. Shorter than the default of 10 s, so that the page shows a take-over soon. */
const lease = 1000
const feedOptions: SharedStreamOptions = {
  name: feed,
  linger: Number.POSITIVE_INFINITY,
  idleTimeout: 1500,
  reconnect: { baseDelay: 100, maxDelay: 500, maxRetries: 100 },
  retention: { events: 3000 },
  heartbeat: 5000,
}

const sessionOptions: SharedStreamOptions = {
  name: 'session',
  linger: Number.POSITIVE_INFINITY,
  from: 'start',
  resume: 'before-first-event',
  errorEvent: ({ message }) => ({ event: 'failed', data: message }),
}

/** The members of the process that a gateway process uses. */
export type ChildTerminal = Pick<NodeJS.Process, 'exit' | 'on' | 'send' | 'stderr'>

/**
 * Runs a gateway process: a hub whose store is in the process that started this one.
 *
 * @returns The exit code of a process that ends by itself: 2 where no process has started this one.
 */
export function runGateway(terminal: ChildTerminal): number {
  if (terminal.send === undefined) {
    terminal.stderr.write('Only the demonstration itself starts its gateway processes.\n')
    return 2
  }
  const end: End = {
    send: (bytes, callback) => terminal.send?.(bytes, undefined, undefined, callback),
    on: (event, listener) => terminal.on(event, listener),
  }
  let gateway: Gateway | undefined
  const channel = new ProcessChannel<FromGateway, ToGateway>(end, (message) => {
    if (message.kind === 'serve') {
      gateway = new Gateway(channel, message)
      void gateway.start()
    } else if (message.kind === 'ask') void gateway?.ask(message.session, message.url)
    else void gateway?.close().then(() => terminal.exit())
  })
  // Ctrl-C reaches every process of the terminal. This one ends with the process that started it.
  terminal.on('SIGINT', () => {})
  terminal.on('disconnect', () => terminal.exit())
  return 0
}

class Gateway {
  readonly #channel: ProcessChannel<FromGateway, ToGateway>
  readonly #settings: Extract<ToGateway, { readonly kind: 'serve' }>
  readonly #guard: Guard
  readonly #hub: SseHub
  readonly #server = http.createServer((request, response) => void this.#answer(request, response))
  #clients = 0

  constructor(
    channel: ProcessChannel<FromGateway, ToGateway>,
    settings: Extract<ToGateway, { readonly kind: 'serve' }>,
  ) {
    this.#channel = channel
    this.#settings = settings
    this.#guard = new Guard(settings.pagePort)
    this.#hub = createSseHub({ store: remoteStore(channel.store), lease, poll: 500 })
  }

  async start(): Promise<void> {
    this.#report()
    const port = await listen(this.#server, this.#settings.port)
    this.#guard.serves(port)
    if (this.#settings.opensFeed) await this.#hub.start(feed, this.#feedUpstream(), feedOptions)
    this.#channel.send({ kind: 'serving', port })
  }

  async ask(session: string, url: string): Promise<void> {
    await this.#hub.start(session, httpUpstream(url, { method: 'POST' }), sessionOptions)
    this.#channel.send({ kind: 'asked', session })
  }

  close(): Promise<void> {
    return this.#hub.close()
  }

  #feedUpstream() {
    return httpUpstream(this.#settings.feedUrl)
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    if (!this.#guard.admits(request, response)) return
    const { pathname } = new URL(request.url ?? '/', 'http://gateway')
    const [, session] = /^\/sessions\/([\w-]+)$/.exec(pathname) ?? []
    if (session !== undefined) {
      // Without an upstream: whoever reads a session never asks the model for it.
      await this.#hub.relay(request, response, session, undefined, sessionOptions)
    } else if (pathname === '/events') {
      this.#channel.send({ kind: 'clients', count: ++this.#clients })
      await this.#hub.relay(request, response, feed, this.#feedUpstream(), feedOptions)
      this.#channel.send({ kind: 'clients', count: --this.#clients })
    } else {
      response.writeHead(404).end()
    }
  }

  /** Reports what the library announces about its streams. */
  #report(): void {
    const report = (message: FromGateway) => this.#channel.send(message)
    const on = <Name extends keyof Messages>(name: Name, listener: (message: Messages[Name]) => void) => {
      diagnosticsChannel.subscribe(`resilient-sse:${name}`, (message) => {
        // The library alone publishes on these channels in this process.
        const known: Messages[Name] = Object(message)
        listener(known)
      })
    }
    on('hub-open', ({ stream, first }) => report({ kind: 'owner', stream, isTakeOver: !first }))
    on('hub-release', ({ stream, reason }) => report({ kind: 'released', stream, reason }))
    on('open', ({ name, opens, cursor }) => {
      if (name === feed) report({ kind: 'open', isFirst: opens === 0 && cursor === undefined })
    })
    on('drop', ({ name, reason }) => name === feed && report({ kind: 'drop', reason }))
    on('retry', ({ name, delay, error }) => {
      if (name === feed) report({ kind: 'retry', delay, reason: error.message })
    })
    on('duplicate', ({ name }) => name === feed && report({ kind: 'repeat' }))
  }
}
