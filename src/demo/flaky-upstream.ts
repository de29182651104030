import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { type Ending, endWith } from './ending.ts'
import { FlickeringServer } from './flickering-server.ts'
import { wholeBetween } from './random.ts'

/** A request that the upstream has received. */
export interface ReceivedRequest {
  /** The number of earlier requests. */
  readonly n: number
  readonly path: string
  readonly headers: IncomingHttpHeaders
  /** The value of `Last-Event-ID`, decoded as UTF-8; undefined without one. */
  readonly lastEventId: string | undefined
}

/** All connections are dropped, and the server refuses new ones for a time. */
export interface Leave {
  readonly how: 'leave'
  /** Milliseconds. */
  readonly away: number
}

/** The steps of an event stream: bytes to write, or milliseconds to wait (0: one turn of the event loop); returns how to end. */
export type Steps = Generator<Buffer | number, Ending | Leave, void>

export type Answer =
  /** No head is sent. */
  | { readonly ending: Ending | Leave }
  | {
      readonly status: number
      readonly headers?: OutgoingHttpHeaders
      readonly body?: string
      /** Whether the body never ends. */
      readonly hangs?: boolean
    }
  /** A 200 with an event stream. */
  | { readonly steps: Steps; readonly headers?: OutgoingHttpHeaders }

/**
 * An upstream on a free port that drops its connections in many ways.
 *
 * A function decides what each answer says and how it ends; this class does so to the sockets. The demonstration and the
 * tests use this class, each with a function of its own.
 */
export class FlakyUpstream {
  /** The number of requests. */
  requests = 0
  readonly #server = new FlickeringServer((request, response) => this.#onRequest(request, response))
  readonly #answerTo: (request: ReceivedRequest) => Answer
  readonly #open = new Map<ServerResponse, Socket>()
  /** Open event streams. */
  readonly #streams = new Set<ServerResponse>()

  constructor(answerTo: (request: ReceivedRequest) => Answer) {
    this.#answerTo = answerTo
  }

  get url(): string {
    return this.#server.url
  }

  /** The number of answers that neither side has ended. */
  get open(): number {
    // An answer that waits behind another (pipelining) gets no `close` event when their connection closes.
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

  /** Drops all connections and refuses new ones; see {@link FlickeringServer.leave}. */
  leave(away?: number): void {
    this.#streams.clear()
    this.#server.leave(away)
  }

  comeBack(): void {
    this.#server.comeBack()
  }

  /** Ends all open event streams in the same way. */
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

  /** Runs the steps until they end, the client disconnects, or the stream is dropped. */
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

/** Yields the bytes in two pieces, so that chunks do not end where events end. */
export function* inTwo(bytes: Buffer, chance: number): Generator<Buffer, void, void> {
  const middle = wholeBetween(1, bytes.length - 1, chance)
  yield bytes.subarray(0, middle)
  yield bytes.subarray(middle)
}

/** Waits until the response has drained, or is closed. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}
