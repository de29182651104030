import type { Messages } from '../diagnostics.ts'
import type { HeaderFields } from '../errors.ts'
import type { SseEvent } from '../wire/event.ts'

/** The messages that a stream announces between its start and its end. */
export type Announced = 'open' | 'drop' | 'retry' | 'gap' | 'duplicate'

/** The consumer of a stream. */
export interface Sink {
  /** Whether `comment` must be called for each comment. */
  readonly readsComments?: boolean
  /** Whether `blocks` must get whole blocks of a request that is sent once, too. */
  readonly needsWholeBlocks?: boolean
  /**
   * Receives whole blocks in wire form; of a request that is sent once, the bytes as they arrived. The buffer is valid only
   * during the call: a sink that keeps the bytes copies them.
   *
   * @returns False when the sink is full: the stream pauses until `resume()`.
   */
  blocks(bytes: Buffer): boolean
  /** Receives one event, in object mode. Returns as `blocks` does. */
  event(event: SseEvent): boolean
  comment?(text: string): void
  /**
   * Called when a connection is open, before `announced('open', …)`.
   *
   * @param headers - The upstream's header fields, names in lower case.
   */
  opened?(headers: HeaderFields): void
  /** Receives the upstream's `retry:` field where the stream cannot reconnect after its first event, unless bytes are passed on unchanged. */
  reconnectionTime?(milliseconds: number): void
  /** Called after the stream has announced a message. */
  announced<K extends Announced>(kind: K, message: Messages[K]): void
  /** The stream is complete. This is the last call. */
  end(): void
  /** The stream has failed. This is the last call. */
  fail(error: Error): void
}
