import { PassThrough } from 'node:stream'
import { asError } from '../errors.ts'
import type { SseEvent } from '../wire/event.ts'

/** Changes the events of a stream: one by one, or all of them in an `async function*`. */
export type EventTransform =
  | ((event: SseEvent) => SseEvent | undefined)
  | ((events: AsyncIterable<SseEvent>) => AsyncGenerator<SseEvent, void>)

/** What becomes of the events that a transform gives. */
export interface TransformTarget {
  /** Resolves when there is room for the next one; undefined where there is room already. */
  write(event: SseEvent): Promise<void> | undefined
  /** There is room for more events of the stream. */
  onDrain(): void
  /** @param fault - What the transform threw. */
  onEnd(fault: Error | undefined): void
}

/** Events on their way through a caller's function. */
export interface TransformStage {
  /** @returns False: no more until `onDrain`. */
  push(event: SseEvent): boolean
  /** No event follows. */
  end(): void
  /** Nobody waits for what is left. */
  destroy(): void
}

const AsyncGeneratorFunction: unknown = Object.getPrototypeOf(async function* () {}).constructor

/** How many events wait for an `async function*`. */
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
  readonly #transform: (event: SseEvent) => SseEvent | undefined
  readonly #target: TransformTarget

  constructor(transform: (event: SseEvent) => SseEvent | undefined, target: TransformTarget) {
    this.#transform = transform
    this.#target = target
  }

  push(event: SseEvent): boolean {
    const changed = this.#transform(event)
    return changed === undefined || this.#target.write(changed) === undefined
  }

  end(): void {
    this.#target.onEnd(undefined)
  }

  destroy(): void {}
}

class GeneratorStage implements TransformStage {
  readonly #events = new PassThrough({ objectMode: true, highWaterMark: mostWaiting })
  readonly #target: TransformTarget

  constructor(
    transform: (events: AsyncIterable<SseEvent>) => AsyncGenerator<SseEvent, void>,
    target: TransformTarget,
  ) {
    this.#target = target
    this.#events.on('drain', () => target.onDrain())
    this.#events.on('error', () => {})
    this.#run(transform(this.#events)).then(
      () => target.onEnd(undefined),
      (error: unknown) => target.onEnd(asError(error)),
    )
  }

  push(event: SseEvent): boolean {
    return this.#events.write(event)
  }

  end(): void {
    this.#events.end()
  }

  destroy(): void {
    this.#events.destroy()
  }

  async #run(changed: AsyncGenerator<SseEvent, void>): Promise<void> {
    for await (const event of changed) await this.#target.write(event)
  }
}
