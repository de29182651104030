import { PassThrough } from 'node:stream'
import { asError } from '../errors.ts'
import type { SseEvent } from '../wire/event.ts'

/**
 * Changes the events of a stream, one by one in a function, or all of them in an `async function*`.
 *
 * @example
 * ```ts
 * import type { EventTransform, RelayOptions, SseEvent } from 'resilient-sse'
 *
 * const withoutPings: EventTransform = (event: SseEvent) => (event.event === 'ping' ? undefined : event)
 * const options: RelayOptions = { transform: withoutPings }
 * ```
 */
export type EventTransform =
  | ((event: SseEvent) => SseEvent | undefined)
  | ((events: AsyncIterable<SseEvent>) => AsyncGenerator<SseEvent, void>)

/** Receives the events that a transform returns. */
export interface TransformTarget {
  /** @returns A promise that resolves when the target has room for the next event; undefined when it already has. */
  write(event: SseEvent): Promise<void> | undefined
  /** Called when the stage's queue has room for more events. */
  onQueueDrain(): void
  /** @param fault - The error that the transform threw; undefined for the stream's own failure. */
  onEnd(fault: Error | undefined): void
}

/** Passes the events of a stream through a transform. */
export interface TransformStage {
  /** Whether the stage has a queue: `push` then reports the room in this queue, and not at the client. */
  readonly isQueue: boolean
  /** @returns False when the queue or the client is full: the caller waits for `onQueueDrain`, or for room at the client. */
  push(event: SseEvent): boolean
  /**
   * Called after the stream's last event.
   *
   * @param failure - The error that the stream failed with; undefined after a complete stream.
   */
  end(failure: Error | undefined): void
  /** Discards the events that were not transformed yet. */
  destroy(): void
}

const AsyncGeneratorFunction: unknown = Object.getPrototypeOf(async function* () {}).constructor

/** The most events that are queued for an `async function*`. */
const longestQueue = 16

function isGenerator(
  transform: EventTransform,
): transform is (events: AsyncIterable<SseEvent>) => AsyncGenerator<SseEvent, void> {
  return typeof AsyncGeneratorFunction === 'function' && transform instanceof AsyncGeneratorFunction
}

/** Starts a transform. */
export function transformInto(transform: EventTransform, target: TransformTarget): TransformStage {
  return isGenerator(transform) ? new GeneratorStage(transform, target) : new FunctionStage(transform, target)
}

class FunctionStage implements TransformStage {
  readonly isQueue = false
  readonly #transform: (event: SseEvent) => SseEvent | undefined
  readonly #target: TransformTarget

  constructor(transform: (event: SseEvent) => SseEvent | undefined, target: TransformTarget) {
    this.#transform = transform
    this.#target = target
  }

  push(event: SseEvent): boolean {
    const changed = this.#transform(event)
    if (changed !== undefined && Symbol.asyncIterator in changed) {
      throw new TypeError(
        'transform must be an async function* itself to see all events, got a function that returns one',
      )
    }
    return changed === undefined || this.#target.write(changed) === undefined
  }

  end(): void {
    this.#target.onEnd(undefined)
  }

  destroy(): void {}
}

class GeneratorStage implements TransformStage {
  readonly isQueue = true
  readonly #events = new PassThrough({ objectMode: true, highWaterMark: longestQueue })
  readonly #target: TransformTarget
  /** The error that the stream failed with. */
  #failure: Error | undefined

  constructor(
    transform: (events: AsyncIterable<SseEvent>) => AsyncGenerator<SseEvent, void>,
    target: TransformTarget,
  ) {
    this.#target = target
    this.#events.on('drain', () => target.onQueueDrain())
    this.#events.on('error', () => {})
    this.#run(transform).then(
      () => target.onEnd(undefined),
      (error: unknown) => target.onEnd(error === this.#failure ? undefined : asError(error)),
    )
  }

  push(event: SseEvent): boolean {
    return this.#events.write(event)
  }

  end(failure: Error | undefined): void {
    this.#failure = failure
    this.#events.end()
  }

  destroy(): void {
    this.#events.destroy()
  }

  async #run(transform: (events: AsyncIterable<SseEvent>) => AsyncGenerator<SseEvent, void>): Promise<void> {
    for await (const event of transform(this.#incoming())) await this.#target.write(event)
  }

  /** Throws a failure of the stream after its last event, so that a generator does not take the failure for a clean end. */
  async *#incoming(): AsyncGenerator<SseEvent, void> {
    yield* this.#events
    if (this.#failure) throw this.#failure
  }
}
