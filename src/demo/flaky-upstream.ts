import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { type Ending, endWith } from './ending.ts'
import { FlickeringServer } from './flickering-server.ts'
import { wholeBetween } from './random.ts'

/** A request, as the one who decides on its answer sees it. */
export interface Asked {
  /** How many requests there were before it. */
  readonly n: number
  readonly path: string
  readonly headers: IncomingHttpHeaders
  /** What `Last-Event-ID` says, read as UTF-8. */
  readonly lastEventId: string | undefined
}

/** The server is gone for as many milliseconds, and all of its connections are dropped. */
export interface Leave {
  readonly how: 'leave'
  readonly away: number
}

/** An event stream step by step: bytes to write, or milliseconds to wait (0: a turn of the event loop); then how it ends. */
export type Steps = Generator<Buffer | number, Ending | Leave, void>

export type Answer =
  /** No head at all. */
  | { readonly ending: Ending | Leave }
  | {
      readonly status: number
      readonly headers?: OutgoingHttpHeaders
      readonly body?: string
      /** Whether the body never comes to its end. */
      readonly hangs?: boolean
    }
  /** A 200 with an event stream. */
  | { readonly steps: Steps; readonly headers?: OutgoingHttpHeaders }

/**
 * An upstream on a free port that loses its connections in every way there is.
 *
 * What it says and when it fails is decided by a function; how that is done to a socket is in here. The demonstration and
 * every harness of the tests use it, each with a function of its own.
 */
export class FlakyUpstream {
  /** How many requests there were. */
  requests = 0
  readonly #server = new FlickeringServer((request, response) => this.#onRequest(request, response))
  readonly #answerTo: (asked: Asked) => Answer
  readonly #open = new Map<ServerResponse, Socket>()
  /** Event streams that go on. */
  readonly #streams = new Set<ServerResponse>()

  constructor(answerTo: (asked: Asked) => Answer) {
    this.#answerTo = answerTo
  }

  get url(): string {
    return this.#server.url
  }

  /** Answers that are not over, on either side. */
  get open(): number {
    // One that waits behind another answer is not told that their connection is closed.
    return [...this.#open.values()].filter(({ destroyed }) => !destroyed).length
  }

  async start(): Promise<this> {
    await this.#server.open()
    return this
  }

  async close(): Promise<void> {
    this.#streams.clear()
    await this.#server.close()
  }

  /** Drops every connection and refuses new ones; see {@link FlickeringServer.leave}. */
  leave(away?: number): void {
    this.#streams.clear()
    this.#server.leave(away)
  }

  comeBack(): void {
    this.#server.comeBack()
  }

  /** Loses every event stream that goes on, in the same way. */
  loseAll(ending: Ending): void {
    for (const response of this.#streams) void endWith(response, ending)
    this.#streams.clear()
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const header = request.headers['last-event-id']
    const answer = this.#answerTo({
      n: this.requests++,
      path: request.url ?? '/',
      headers: request.headers,
      lastEventId: header === undefined ? undefined : Buffer.from(String(header), 'latin1').toString(),
    })
    this.#open.set(response, request.socket)
    response.on('error', () => {})
    response.on('close', () => {
      this.#open.delete(response)
      this.#streams.delete(response)
    })
    if ('ending' in answer) {
      void this.#end(response, answer.ending)
    } else if ('status' in answer) {
      response.writeHead(answer.status, answer.headers)
      if (answer.hangs) response.write(answer.body ?? '')
      else response.end(answer.body)
    } else {
      response.writeHead(200, { 'content-type': 'text/event-stream', ...answer.headers })
      response.flushHeaders()
      void this.#send(response, answer.steps)
    }
  }

  /** Takes the steps, unless the client has left or the stream was lost meanwhile. */
  async #send(response: ServerResponse, steps: Steps): Promise<void> {
    this.#streams.add(response)
    while (this.#streams.has(response)) {
      const { done, value } = steps.next()
      if (done) {
        this.#streams.delete(response)
        return this.#end(response, value)
      }
      if (value === 0) await nextTurn()
      else if (typeof value === 'number') await sleep(value)
      else if (!response.write(value)) await drained(response)
    }
  }

  async #end(response: ServerResponse, ending: Ending | Leave): Promise<void> {
    if (ending.how === 'leave') this.leave(ending.away)
    else await endWith(response, ending)
  }
}

/** Writes in two pieces, so that chunks do not end where events end. */
export function* inTwo(bytes: Buffer, chance: number): Generator<Buffer, void, void> {
  const middle = wholeBetween(1, bytes.length - 1, chance)
  yield bytes.subarray(0, middle)
  yield bytes.subarray(middle)
}

/** Waits until there is room, or the other side has left. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}
