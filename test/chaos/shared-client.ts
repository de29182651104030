import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { createParser } from 'eventsource-parser'
import { wholeBetween } from '../support/flaky-upstream.ts'
import { patience } from './client.ts'
import type { SharedClientPlan } from './shared-plan.ts'

/** What a client of a shared stream has seen, in order. */
export type Step =
  | { readonly what: 'visit' }
  /** A block with an id; its event follows, if it has one. */
  | { readonly what: 'id'; readonly id: string }
  | {
      readonly what: 'event'
      readonly id: string | undefined
      readonly event: string | undefined
      readonly data: string
    }
  /** Events may be missing here. */
  | { readonly what: 'gap' }
  /** The stream is over: everything that was stored must have arrived. */
  | { readonly what: 'end' }

/** The answer to a client. */
export interface Opened {
  readonly status: number
  /** Bytes or events; undefined for a status other than 200. */
  readonly body: Readable | undefined
}

/** What a client needs of the run. */
export interface SharedWorld {
  open(client: SharedClientPlan, lastEventId: string): Promise<Opened>
  /** Whether the stream has ended, failed or was cancelled. */
  readonly isOver: boolean
  /** Whether an upstream or a stream has failed, so that a refusal is right. */
  readonly hasFailed: boolean
  /** Whether the log does not keep every event. */
  readonly mayTrim: boolean
  /** The number of stored events. */
  readonly stored: number
  /** Whether no event follows this id. */
  isLatest(id: string): boolean
  trace(text: string): void
}

type End = 'end' | 'broken' | 'refused' | 'left' | 'hung' | 'no content'

/** A client of a shared stream, and everything that it has seen. */
export class SharedClient {
  readonly plan: SharedClientPlan
  readonly steps: Step[] = []
  endedEarly = 0
  broken = 0
  hung = false
  /** Answers that this client must not get. */
  readonly faults: string[] = []
  readonly #world: SharedWorld
  readonly #leavesAt: number[]
  #lastEventId = ''
  /** The reconnection time that the client was told, in milliseconds. */
  #retry: number | undefined
  #wasTold = false
  #events = 0
  #latest = 0

  constructor(plan: SharedClientPlan, world: SharedWorld) {
    this.plan = plan
    this.#world = world
    const leaves = plan.kind === 'returning' || plan.kind === 'leaving' || plan.random() < 0.3
    this.#leavesAt = leaves ? [...plan.leavesAt] : []
  }

  get lastEventId(): string {
    return this.#lastEventId
  }

  /** Resolves when the client has seen the end of the stream, or does not come back. */
  async read(): Promise<void> {
    const { kind, number, pause } = this.plan
    this.#latest = performance.now()
    for (;;) {
      this.#wasTold = false
      this.steps.push({ what: 'visit' })
      const wasOver = this.#world.isOver
      const [end, status] = await this.#visit()
      this.#world.trace(
        `client ${number} (${kind}): ${end} ${status}; has ${this.#events}, ${this.#lastEventId.slice(0, 40)}`,
      )
      if (this.#isLast(end, status, wasOver)) return
      await sleep(end === 'left' ? pause : kind === 'event source' ? (this.#retry ?? 20) : 20)
    }
  }

  /** Notes what is wrong with the end of a visit, and says whether the client does not come back. */
  #isLast(end: End, status: number, wasOverBefore: boolean): boolean {
    const { kind } = this.plan
    const { isOver } = this.#world
    // A stream that has failed before its first event is soon forgotten, and may have been opened anew.
    const wasOver = wasOverBefore && isOver
    const comesBack = kind !== 'program' && kind !== 'leaving'
    if (performance.now() - this.#latest > patience) this.hung = true
    if (this.hung) return true
    if (end === 'left') return !comesBack
    if (end === 'broken') this.broken++
    if (end === 'end' && !isOver && !this.#wasTold) this.endedEarly++
    if (end === 'no content' && !isOver) this.faults.push(`client ${this.plan.number}: 204 before the end`)
    // What was under way when the connection broke is lost, so only a clean end or another answer shows all.
    const isComplete = end === 'no content' || (end === 'end' && isOver && !this.#wasTold)
    if (isComplete || (wasOver && end !== 'refused' && this.#world.isLatest(this.#lastEventId))) {
      this.steps.push({ what: 'end' })
      return true
    }
    // Without a place there is nothing that a client of a stream that has failed could wait for.
    if (end !== 'refused') return !comesBack || (wasOver && this.#lastEventId === '')
    if (status === 410 && this.#world.mayTrim) return true
    // A stream whose upstream fails may be cancelled at the same moment.
    const isExpected = this.#world.hasFailed || status === 503 || (kind !== 'event source' && !wasOver)
    if (!isExpected) this.faults.push(`client ${this.plan.number} (${kind}): refused with ${status}`)
    // An EventSource fails for ever (HTML, 9.2.3).
    return kind === 'event source' || (isOver && status !== 503)
  }

  async #visit(): Promise<[End, number]> {
    try {
      const { status, body } = await this.#world.open(this.plan, this.#lastEventId)
      if (status === 204) return ['no content', status]
      if (!body) return ['refused', status]
      const end = await this.#readBody(body)
      // A subscription has no status: its error says what 410 says to a client that is a response.
      return [end, end === 'refused' ? 410 : status]
    } catch (error) {
      this.#world.trace(`client ${this.plan.number}: ${error}`)
      return ['broken', 0]
    }
  }

  #readBody(body: Readable): Promise<End> {
    const { kind, random } = this.plan
    return new Promise((resolve) => {
      let paused: NodeJS.Timeout | undefined
      let isOver = false
      const settle = (end: End) => {
        if (isOver) return
        isOver = true
        clearInterval(watch)
        clearTimeout(paused)
        body.destroy()
        resolve(end)
      }
      const watch = setInterval(() => {
        if (performance.now() - this.#latest < patience) return
        this.hung = true
        settle('hung')
      }, 500)
      const parser = createParser({
        onId: (id) => isOver || this.#noteId(id),
        onEvent: (event) => isOver || this.#noteEvent(event, settle),
        onRetry: (retry) => {
          this.#retry = retry
          this.#wasTold = true
        },
      })
      const decoder = new TextDecoder()
      body.on('data', (chunk: unknown) => {
        if (chunk instanceof Uint8Array) parser.feed(decoder.decode(chunk, { stream: true }))
        else this.#noteObject(Object(chunk), settle)
        if (kind !== 'slow' || isOver) return
        body.pause()
        clearTimeout(paused)
        paused = setTimeout(() => body.resume(), wholeBetween(0, 5, random()))
      })
      body.on('gap', () => this.steps.push({ what: 'gap' }))
      body.on('end', () => settle('end'))
      body.on('error', (error: Error) => {
        this.#world.trace(`client ${this.plan.number}: ${error.message}`)
        settle('code' in error && error.code === 'ERR_SSE_STREAM_GONE' ? 'refused' : 'broken')
      })
      body.on('close', () => settle('broken'))
    })
  }

  #noteId(id: string): void {
    this.#lastEventId = id
    this.steps.push({ what: 'id', id })
  }

  #noteObject(
    event: { readonly id?: string; readonly event?: string; readonly data?: string },
    settle: (end: End) => void,
  ): void {
    if (event.id !== undefined) this.#noteId(event.id)
    if (event.data !== undefined) this.#noteEvent({ ...event, data: event.data }, settle)
  }

  #noteEvent(
    event: {
      readonly id?: string | undefined
      readonly event?: string | undefined
      readonly data: string
    },
    settle: (end: End) => void,
  ): void {
    if (event.event === 'relay-status') {
      if (event.data.includes('gap')) this.steps.push({ what: 'gap' })
      return
    }
    this.steps.push({ what: 'event', id: event.id, event: event.event, data: event.data })
    this.#events++
    this.#latest = performance.now()
    if (!this.#leavesAt[0] || this.#events < this.#leavesAt[0]) return
    this.#leavesAt.shift()
    settle('left')
  }
}
