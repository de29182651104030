import { setTimeout as sleep } from 'node:timers/promises'
import type { Step } from '../../chaos/shared-client.ts'
import { readEvents, request } from '../../support/client.ts'
import { eventSource } from '../../support/hub.ts'
import type { ClientPlan } from './plan.ts'

/** What a client needs of the run. */
export interface World {
  /** The addresses of the machines that serve. */
  readonly urls: readonly string[]
  /** Whether the stream may fail: a client that has all of it, and asks again, is then answered 502. */
  readonly mayFail: boolean
  /** Whether the publisher has stopped, and every fault of the plan is over. */
  readonly isOver: boolean
  trace(text: string): void
}

/** A client that reconnects with its last event ID, to any machine, until an answer says that the stream is over. An EventSource does the same. */
export class ModelClient {
  readonly plan: ClientPlan
  /** What the client has seen, in order. */
  readonly steps: Step[] = []
  /** Answers that an EventSource must not get. */
  readonly faults: string[] = []
  lastEventId = ''
  /** The status that has ended the client: 204, or that of a failed stream. */
  last: 204 | 502 | undefined
  readonly #world: World
  readonly #leaving = new AbortController()

  constructor(plan: ClientPlan, world: World) {
    this.plan = plan
    this.#world = world
  }

  /** Resolves when the client knows the end of the stream, has got an answer that it must not get, or was told to leave. */
  async run(): Promise<void> {
    const { number, pause, random } = this.plan
    while (!this.last && this.faults.length === 0 && !this.#leaving.signal.aborted) {
      const { urls } = this.#world
      const url = urls[Math.floor(random() * urls.length)]
      const how =
        url === undefined ? 'no machine' : await this.#visit(url).catch((error: Error) => error.message)
      this.#world.trace(`client ${number}: ${how}; has ${this.lastEventId}`)
      await sleep(how === 'moves' && !this.#world.isOver ? pause : 10)
    }
  }

  leave(): void {
    this.#leaving.abort()
  }

  async #visit(url: string): Promise<string> {
    const { number, from, movesAfter } = this.plan
    const { lastEventId } = this
    this.steps.push({ what: 'visit' })
    const { signal } = this.#leaving
    const body = await request(`${url}/?from=${from}`, { headers: eventSource, lastEventId, signal })
    if (body.statusCode !== 200) {
      body.resume()
      if (body.statusCode === 204 || (body.statusCode === 502 && this.#world.mayFail))
        this.#finish(body.statusCode)
      else this.faults.push(`client ${number} was answered ${body.statusCode} with ${this.lastEventId}`)
      return `status ${body.statusCode}`
    }
    let events = 0
    let moves = false
    const error = await readEvents(body, (arrival) => {
      if (!('data' in arrival) || arrival.data === undefined) {
        if (arrival.id !== undefined) this.#note(arrival.id)
      } else if (arrival.event === 'relay-status') {
        if (arrival.data.includes('gap')) this.steps.push({ what: 'gap' })
      } else {
        const { id, event, data } = arrival
        this.steps.push({ what: 'event', id, event, data })
        moves = ++events >= movesAfter && !this.#world.isOver
        if (moves) body.destroy()
      }
    })
    return moves ? 'moves' : (error?.message ?? 'end')
  }

  #note(id: string): void {
    this.lastEventId = id
    this.steps.push({ what: 'id', id })
  }

  #finish(status: 204 | 502): void {
    this.last = status
    this.steps.push({ what: 'end' })
  }
}
