import type { Transform } from 'node:stream'
import { type SseEvent, serializeEvent } from './event.ts'
import { EventStage } from './event-stage.ts'

/**
 * Yields the events of one turn of the event loop as one chunk: a response has a fixed cost for each chunk, several times that of
 * an event.
 */
class Serializer extends EventStage<string> {
  /** The events that were not yielded yet. */
  #text = ''
  readonly #onTurnEnd = () => this.yieldRest()

  constructor() {
    super({ writableObjectMode: true })
  }

  protected get isFull(): boolean {
    return this.readableLength >= this.readableHighWaterMark
  }

  protected check(event: SseEvent): string {
    return serializeEvent(event)
  }

  protected pass(_: SseEvent, text: string): void {
    if (this.#text === '') process.nextTick(this.#onTurnEnd)
    this.#text += text
    if (this.#text.length >= this.readableHighWaterMark) this.yieldRest()
  }

  protected override yieldRest(): void {
    const text = this.#text
    this.#text = ''
    if (text !== '' && !this.destroyed) this.push(text)
  }
}

/**
 * Makes a Transform from {@link SseEvent}s to the bytes of an event stream. The events of one turn of the event loop become one
 * chunk. An event that cannot be serialized fails the Transform with the `TypeError` of {@link serializeEvent}.
 *
 * @example
 * ```ts
 * import { pipeline } from 'node:stream/promises'
 * import { createSerializer, type SseEvent } from 'resilient-sse'
 *
 * const events: readonly SseEvent[] = [{ id: '1', data: 'one' }, { id: '2', data: 'two' }]
 * await pipeline(events, createSerializer(), process.stdout)
 * ```
 */
export function createSerializer(): Transform {
  return new Serializer()
}
