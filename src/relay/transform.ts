import { PassThrough } from 'node:stream'
import { asError } from '../errors.ts'
import type { SseEvent } from '../wire/event.ts'

/** Changes the events of a stream, one by one in a function, or all of them in an `async function*`. */
export type EventTransform =
  | ((event: SseEvent) => SseEvent | undefined)
  | ((events: AsyncIterable<SseEvent>) => AsyncGenerator<SseEvent, void>)

/** Receives the events that a transform returns. */
export interface TransformTarget {
  /** @returns A promise that resolves when the target has room for the next event; undefined when it already has. */
  write(event: SseEvent): Promise<void> | undefined
  /** The stage's own queue has room for more events of the stream. */
  onQueueDrain(): void
  /** @param fault - What the transform threw, other than the stream's own failure. */
  onEnd(fault: Error | undefined): void
}

/** Passes the events of a stream through a transform. */
export interface TransformStage {
  /** Whether events wait in a queue of the stage: room for more is then the queue's, and not the client's. */
  readonly isQueue: boolean
  /** @returns False: no more until `onQueueDrain`, or until the client has room. */
  push(event: SseEvent): boolean
  /** No event follows. @param failure - What the stream has failed with. */
  end(failure: Error | undefined): void
  /** Nobody waits for what is left. */
  destroy(): void
}

const AsyncGeneratorFunction: unknown = Object.getPrototypeOf(async function* () {}).constructor

/** The most events that wait for an `async function*`. */
const mostWaiting = 16

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
  readonly #events = new PassThrough({ objectMode: true, highWaterMark: mostWaiting })
  readonly #target: TransformTarget
  /** What the stream has failed with. */
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

  /** A failure comes behind the events before it, as an exception: a generator must not take it for the end. */
  async *#incoming(): AsyncGenerator<SseEvent, void> {
    yield* this.#events
    if (this.#failure) throw this.#failure
  }
}
